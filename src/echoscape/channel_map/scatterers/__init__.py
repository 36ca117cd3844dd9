"""Point scatterers whose positions jitter: search, bundle adjustment, map.

Takes `Reports`.
Gives A `ScattererMap`.
"""
