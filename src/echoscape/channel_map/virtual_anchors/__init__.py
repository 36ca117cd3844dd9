"""Virtual anchors and scatterers found from reports: the geometric map.

Takes `Reports`.
Gives A map of static points: position to `PathPrior`.
"""
