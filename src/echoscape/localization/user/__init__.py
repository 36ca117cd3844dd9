"""Users located by their own paths or received power, and cross-validation of such fixes.

Takes `Reports` or received powers, and a channel map.
Gives A `Fix`, scores.
"""
