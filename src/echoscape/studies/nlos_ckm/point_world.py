"""The square of point scatterers as an exact map, and targets in it with echoes of equal strength.

Takes a key and settings.
Gives sites, a `ChannelMap` that is exact, and `EchoSnapshots`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map import ChannelMap, PathPrior
from echoscape.estimation import AnyArray
from echoscape.propagation import Paths, scatter, strongest
from echoscape.scene import Site
from echoscape.signals import EchoSnapshots, Waveform, echo_channel
from echoscape.units import from_db


class ExactMap(ChannelMap):
    """What a site of point scatterers truly does; the strongest paths exist, the others do not."""

    site: Site
    """Where the station and the scatterers are."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    report_position: Float[AnyArray, "report 3"]
    """A lattice over the site's bounds [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    listed: int = eqx.field(static=True)
    """How many of the strongest paths exist."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        paths = scatter(self.site, position, with_line_of_sight=False)
        rank = jnp.sum(paths.power[None] > paths.power[:, None], axis=1)
        return PathPrior(
            probability=jnp.where(rank < self.listed, 1.0, 0.0),
            departure_azimuth=paths.departure_azimuth,
            departure_zenith=paths.departure_zenith,
            length=paths.length,
            covariance=jnp.zeros((len(paths.length), 3, 3)),
            power=paths.power,
        )

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Measure the horizontal distance from each position to the site's bounds [m]."""
        low, high = np.asarray(self.site.bounds)[:, :2]
        beyond = np.maximum(np.maximum(low - position[:, :2], position[:, :2] - high), 0.0)
        return np.linalg.norm(beyond, axis=1)


def exact_map(site: Site, listed: int) -> ExactMap:
    """Take a site for its own map.

    Args:
        site: One station and point scatterers, all at one height.
        listed: How many of the strongest paths exist.
    """
    low, high = np.asarray(site.bounds)
    east, north = np.meshgrid(*(np.linspace(low[i], high[i], 11) for i in (0, 1)))
    lattice = np.stack([east.ravel(), north.ravel(), np.full(east.size, low[2])], axis=1)
    return ExactMap(
        site=site, station_position=site.station_position[0], report_position=lattice,
        station=site.station[0], listed=listed,
    )  # fmt: skip


@eqx.filter_jit
def _one(site, waveform, place, key, listed):
    paths = strongest(scatter(site, place, with_line_of_sight=False), listed)
    angle = 2 * jnp.pi * jax.random.uniform(key, (listed, listed), float)
    angle = jnp.triu(angle) + jnp.triu(angle, 1).T
    reflection = jnp.exp(1j * angle)
    unit: Paths = eqx.tree_at(lambda p: p.gain, paths, jnp.ones_like(paths.gain))
    array = site.array[0]
    sampled = echo_channel(unit, unit, array, array, waveform, reflection=reflection)
    return sampled, reflection, paths


def equal_echoes(
    site: Site, waveform: Waveform, place: np.ndarray, *, listed: int, snr_db: float,
    key: PRNGKeyArray,
) -> tuple[EchoSnapshots, list[tuple[np.ndarray, Paths]]]:  # fmt: skip
    """Sample targets whose echoes all have the same integrated ratio and random phases.

    Args:
        site: One station and point scatterers.
        waveform: The waveform.
        place: Where the targets are [m].
        listed: Strongest one-way paths that take part.
        snr_db: Integrated ratio of each echo [dB].
        key: Phases and noise.

    Returns:
        Snapshots, and for each target its gains [out, back] and its one-way paths.
    """
    array = site.array[0]
    samples = array.elements**2 * waveform.subcarriers
    variance = float(samples / from_db(snr_db))
    received, truth = [], []
    for where, one in zip(place, jax.random.split(key, len(place))):
        first, second = jax.random.split(one)
        sampled, reflection, paths = _one(site, waveform, jnp.asarray(where), first, listed)
        real, imaginary = jax.random.normal(second, (2, *sampled.shape), float)
        received.append(np.asarray(sampled + np.sqrt(variance / 2) * (real + 1j * imaginary)))
        truth.append((np.asarray(reflection), paths))
    count = len(place)
    snapshots = EchoSnapshots(
        received=np.stack(received), target=np.arange(count), time=np.zeros(count),
        waveform=waveform, transmit=array, receive=array, transmit_station=site.station[0],
        receive_station=site.station[0], noise_variance=variance,
    )  # fmt: skip
    return snapshots, truth
