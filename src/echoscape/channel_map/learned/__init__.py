"""Maps that a network learns: of angles and delays, of virtual anchors, of scatterers.

Takes `Reports`.
Gives A `ChannelMap` trained by gradients.
"""
