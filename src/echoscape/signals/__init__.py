"""Signals: what users and stations send, what arrives, and what noise does to it.

Takes counts, powers, paths and channels.
Gives pilots, noisy samples, and `EchoSnapshots` of targets.
"""

from echoscape.signals.echo_channel import echo_channel, point_channel
from echoscape.signals.echo_snapshot import EchoSnapshots
from echoscape.signals.noise import noise_for_ratio, thermal_noise
from echoscape.signals.pilots import add_noise, dft_pilots
from echoscape.signals.scene_echoes import empty_scene, sample_scene
from echoscape.signals.waveform import Waveform, check_delays

__all__ = [
    "EchoSnapshots",
    "Waveform",
    "add_noise",
    "check_delays",
    "dft_pilots",
    "echo_channel",
    "empty_scene",
    "noise_for_ratio",
    "point_channel",
    "sample_scene",
    "thermal_noise",
]


def __dir__() -> list[str]:
    return sorted(__all__)
