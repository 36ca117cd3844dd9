"""The study of tracking and the channel model, paper isac-gbsm.

Takes A configuration.
Gives Rows and figures.
"""
