"""Configuration of the documentation; nothing is loaded from the network."""

project = "Echoscape"
author = "The Echoscape developers"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
exclude_patterns = ["_build"]
myst_heading_anchors = 3
