"""Channels of several users to several stations, as simulations of links take them.

Takes rays of every link, and the users' motions.
Gives `Links`, and a file of them laid out as Sionna's `cir` arrays.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, PRNGKeyArray

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.coefficient import Polarisation, realize
from echoscape.channel_model.ray import Motion, RaySet, move
from echoscape.checks import InputError
from echoscape.files import write_npz
from echoscape.scene import PlanarArray
from echoscape.scene.antenna_pattern import Antenna


class Links(eqx.Module):
    """The channels of all users to all stations over time (numpy); paths padded by zeros."""

    coefficient: Complex[np.ndarray, "user station time rx tx path"]
    """Baseband coefficients [1]."""
    delay: Float[np.ndarray, "user station time path"]
    """Delays between the centres of the arrays, absolute; 0 where there is no path [s]."""
    time: Float[np.ndarray, " time"]
    """When [s]."""
    position: Float[np.ndarray, "user time 3"]
    """Where the users are [m]."""
    carrier_frequency: float = eqx.field(static=True)
    """Carrier [Hz]."""


def realize_links(
    rays: Sequence[Sequence[RaySet | BounceRays]],
    motions: Sequence[Motion],
    time: Float[np.ndarray, " time"],
    carrier_frequency: float,
    transmit: Sequence[PlanarArray],
    receive: PlanarArray,
    polarisation: Polarisation | None = None,
    *,
    antennas: tuple[Antenna, Antenna] | None = None,
    key: PRNGKeyArray,
    progress: Callable[[float, float], None] | None = None,
) -> Links:
    """Make the channel of every link as `realize` makes one.

    Args:
        rays: For each user, the rays of each station.
        motions: Of the users.
        time: When [s].
        carrier_frequency: Carrier [Hz].
        transmit: Array of each station, all of as many elements.
        receive: Array of each user.
        polarisation: What reflections do to polarisation.
        antennas: Elements of the transmitting and of the receiving arrays.
        key: Of what is drawn, another part for each link.
        progress: Called with how many links are done, of how many.

    Raises:
        InputError: Stations have arrays of different sizes.
    """
    sizes = {array.elements for array in transmit}
    if len(sizes) > 1:
        raise InputError(
            "links of several stations need arrays of one size; got "
            f"{', '.join(str(size) for size in sorted(sizes))} elements; give --transmit, such as "
            "4x4, for all"
        )
    made = []
    total = len(motions) * len(transmit)
    for u, motion in enumerate(motions):
        for s, array in enumerate(transmit):
            number = u * len(transmit) + s
            if progress is not None:
                progress(number, total)
            one = realize(
                rays[u][s], motion, jnp.asarray(time), carrier_frequency, array, receive,
                polarisation, antennas=antennas, key=jax.random.fold_in(key, number),
            )  # fmt: skip
            made.append((np.asarray(one.coefficient), np.asarray(one.delay)))
    most = max(delay.shape[1] for _, delay in made)
    shape = (len(motions), len(transmit), len(time))
    coefficient = np.zeros((total, *made[0][0].shape[:3], most), complex)
    delay = np.zeros((total, len(time), most))
    for number, (one, late) in enumerate(made):
        coefficient[number, ..., : one.shape[3]] = one
        delay[number, :, : late.shape[1]] = np.where(np.abs(one).max(axis=(1, 2)) > 0, late, 0.0)
    place = jax.jit(jax.vmap(move, (None, 0)))
    position = np.stack([np.asarray(place(m, jnp.asarray(time))[0]) for m in motions])
    return Links(
        coefficient.reshape(*shape, *coefficient.shape[2:]), delay.reshape(*shape, most),
        np.asarray(time, float), position, carrier_frequency,
    )  # fmt: skip


def write_links(
    links: Links,
    path: str | Path,
    *,
    station: Float[np.ndarray, "station 3"],
    names: Sequence[str],
    more: dict[str, np.ndarray] | None = None,
) -> None:
    """Write links as Sionna's ``a`` (users, rx, stations, tx, paths, times) and ``tau``, ``.npz``.

    Args:
        links: The links.
        path: File to write.
        station: Where the stations are [m].
        names: What they are called.
        more: Further arrays, by name.
    """
    values: dict[str, Any] = {
        "a": links.coefficient.transpose(0, 3, 1, 4, 5, 2),
        "tau": links.delay[:, :, 0],
        "delay": links.delay,
        "time": links.time,
        "position": links.position,
        "station_position": station,
        "station": np.array(list(names)),
        "carrier_frequency": links.carrier_frequency,
    }
    write_npz(path, {**values, **(more or {})}, "channel links 1")
