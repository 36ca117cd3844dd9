"""Echoscape: multipath is knowledge of the environment, learnt once and used twice.

Users' reports (where they were, which paths they had) train a *channel map*: place to angles and
delays of paths.  The same map locates targets that the base station cannot see, because the echo
of a target runs along pairs of those very paths, and tells which beam serves a user at a place.

    scene -> propagation -> signals -> estimation -> reports -> channel_map -> localization

Importing this package configures nothing; for coordinates beyond some kilometres use double
precision (``jax.config.update("jax_enable_x64", True)``), as the command line does.
"""

__version__ = "0.1.0"
