"""The study of imaging with occlusion, paper multiview-imaging.

Takes A configuration.
Gives Rows and figures.
"""
