"""Batches of reports added to a map of virtual anchors without fitting it again.

Takes a `VirtualAnchorMap` with its `MapState`, and `Reports` that came later.
Gives the next map, and the `MapChanges`: reflectors that vanished, appeared, or were found.
"""
