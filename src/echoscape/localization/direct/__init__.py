"""Targets straight from samples: direct position determination.

Takes `EchoSnapshots` and channel maps.
Gives A `Fix`.
"""
