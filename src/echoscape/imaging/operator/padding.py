"""Sizes rounded up to few, so that a program compiled for one serves the others.

Users, stations, antennas and subcarriers that are not there have channels of zero: they receive
nothing, say nothing about any voxel, and are not counted.  Large grids are not padded, for there
memory is short and compiling a small part of the time.

Takes a `Cascade` and samples.
Gives the same, padded with zeros.
"""

import jax
import numpy as np

from echoscape.imaging.operator.cascade import Cascade, bucket


def padded_samples(cascade: Cascade, voxels: int) -> tuple[int, int, int, int]:
    """Round up subcarriers, users, stations and antennas, unless the grid is large.

    Args:
        cascade: Channels as they are.
        voxels: Voxels of the grid.
    """
    subcarriers, users, stations, antennas = (bucket(count, voxels) for count in cascade.samples)
    return subcarriers, users, stations, antennas


def pad_cascade(cascade: Cascade, samples: tuple[int, int, int, int]) -> Cascade:
    """Add channels of zero up to so many subcarriers, users, stations and antennas."""
    if samples == cascade.samples:
        return cascade
    tones, users, stations, antennas = (
        (0, new - old) for new, old in zip(samples, cascade.samples, strict=True)
    )
    none = (0, 0)
    user = np.pad(np.asarray(cascade.user), (none, tones, none, users, none))
    antenna = np.pad(np.asarray(cascade.antenna), (none, tones, stations, none, antennas, none))
    here = jax.devices()[0]  # committed, as those that are not padded: else jit compiles again
    return Cascade(*(jax.device_put(each, here) for each in (user, antenna)))


def pad_samples(received: np.ndarray, samples: tuple[int, int, int, int]) -> np.ndarray:
    """Add samples of zero."""
    return np.pad(
        received, [(0, new - old) for new, old in zip(samples, received.shape, strict=True)]
    )
