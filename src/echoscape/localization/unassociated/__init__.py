"""Targets from echoes whose pairs of paths are unknown: associations are marginalised.

Takes `Echoes` and channel maps.
Gives A `Fix`.
"""
