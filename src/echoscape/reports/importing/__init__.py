"""Foreign layouts of multipath data as reports, one module a layout.

Takes Files of ray tracers and sounders.
Gives `Reports`.
"""
