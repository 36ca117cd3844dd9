"""Targets from echoes whose pair of paths is known, by path or by rank.

Takes `PairedEchoes` and a channel map.
Gives A `Fix`.
"""
