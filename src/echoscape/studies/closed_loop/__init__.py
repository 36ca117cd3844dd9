"""The study of cold starts: maps that begin with an image or a tracked walk.

Takes A setting.
Gives Rows and figures.
"""
