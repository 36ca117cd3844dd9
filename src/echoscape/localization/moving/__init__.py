"""Targets that move: a particle filter over the fixes of single scans.

Takes `Echoes` over time and channel maps.
Gives Tracks of targets.
"""
