"""Signals: what users send, and what noise does to what arrives.

Takes counts, powers and channels.
Gives pilots and noisy samples.
"""

from echoscape.signals.pilots import add_noise, dft_pilots

__all__ = ["add_noise", "dft_pilots"]
