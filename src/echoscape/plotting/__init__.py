"""Figures of results; no physics.

Takes Fixes, tracks, voxel images, campaigns.
Gives Figures.
"""

from echoscape.extras import need as _need

_need("plot", "a figure")
