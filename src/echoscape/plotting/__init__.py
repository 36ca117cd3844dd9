"""Figures of results; no physics.

Takes Fixes, tracks, voxel images, campaigns.
Gives Figures.
"""
