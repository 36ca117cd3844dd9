"""The map of a small campaign: every reported path extrapolated to the queried position.

Takes `Reports` of a few poses.
Gives A `ChannelMap` with scales learnt from the reports.
"""
