"""Simulated indoor campaigns of a few poses.

Takes A seed.
Gives `Reports` of a room.
"""
