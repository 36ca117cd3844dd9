"""The study of NLoS sensing through a channel knowledge map, paper nlos-ckm.

Takes A configuration.
Gives Rows and figures.
"""
