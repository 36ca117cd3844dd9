"""What maps say of one place: paths, and the beams that reach a user there.

One question with one answer for whoever asks: a page, a service, a script.

Takes channel maps, a place and the stations' arrays.
Gives a `PlaceForecast` of plain numbers.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap, PathPrior
from echoscape.checks import InputError
from echoscape.communication.beams import expected_powers, prior_near
from echoscape.scene import PlanarArray, dft_codebook
from echoscape.units import delay_of

_LEAST = 0.05  # probability below which a path is not listed


@dataclasses.dataclass(frozen=True)
class PathForecast:
    """One path that a map predicts."""

    station: str
    """Station whose map predicts it."""
    probability: float
    """Probability that it is reported [1]."""
    departure_azimuth: float
    """Direction at the station [rad]."""
    departure_zenith: float
    """Angle from +z at the station [rad]."""
    departure_azimuth_std: float
    """Standard deviation [rad]."""
    departure_zenith_std: float
    """Standard deviation [rad]."""
    delay: float
    """One-way delay [s]."""
    delay_std: float
    """Standard deviation [s]."""
    power: float
    """Power gain [1]."""


@dataclasses.dataclass(frozen=True)
class BeamForecast:
    """One beam of a station's DFT codebook."""

    station: str
    """Station that forms it."""
    beam: int
    """Number in the codebook of `scene.dft_codebook`."""
    power: float
    """Expected power gain, the array's included [1]."""


@dataclasses.dataclass(frozen=True)
class PlaceForecast:
    """What maps say of a place."""

    position: tuple[float, float, float]
    """The place [m]."""
    position_std: float
    """Standard deviation of each horizontal coordinate, which the beams allow for [m]."""
    distance: float
    """Horizontal distance to the nearest report: far from all, a map guesses [m]."""
    paths: tuple[PathForecast, ...]
    """Paths of every station, the strongest first."""
    beams: tuple[BeamForecast, ...]
    """The most promising beams of every station whose array is known, the best first."""


def forecast_at(
    maps: Mapping[str, ChannelMap],
    position: Float[np.ndarray, "3"],
    *,
    position_std: float = 0.0,
    arrays: Mapping[str, PlanarArray] | None = None,
    beams: int = 3,
) -> PlaceForecast:
    """Ask every map what it predicts at a place.

    Args:
        maps: Maps by station.
        position: The place [m].
        position_std: Standard deviation of each horizontal coordinate of the place [m].
        arrays: Arrays of the stations that form beams.
        beams: How many beams of each station.

    Raises:
        InputError: The place is not finite, or its deviation is negative.
    """
    position = np.asarray(position, float)
    if position.shape != (3,) or not np.all(np.isfinite(position)):
        raise InputError(f"a place needs three finite coordinates, in m; got {position.tolist()}")
    if not (np.isfinite(position_std) and position_std >= 0):
        raise InputError(f"position_std must be finite and not negative, in m; got {position_std}")
    found: list[PathForecast] = []
    best: list[BeamForecast] = []
    nearest = np.inf
    place = jnp.asarray(position)
    for name, each in maps.items():
        prior = _predict(each.predictor(), place)
        nearest = min(nearest, float(each.support(position[None])[0]))
        found += _paths(name, prior)
        if arrays is not None and name in arrays:
            array = arrays[name]
            near = jnp.asarray(float(position_std))
            power = np.asarray(_beam_powers(each.predictor(), place, near, array))
            order = np.argsort(-power, kind="stable")[:beams]
            best += [BeamForecast(name, int(k), float(power[k])) for k in order]
    return PlaceForecast(
        tuple(position.tolist()), float(position_std), nearest,
        tuple(sorted(found, key=lambda path: -path.power)), tuple(best),
    )  # fmt: skip


@eqx.filter_jit
def _predict(channel_map: ChannelMap, place: Float[Array, "3"]) -> PathPrior:
    return channel_map(place)


@eqx.filter_jit
def _beam_powers(
    channel_map: ChannelMap, place: Float[Array, "3"], std: Float[Array, ""], array: PlanarArray
) -> Float[Array, " beam"]:
    codebook = dft_codebook(array.rows, array.columns)
    return expected_powers(prior_near(channel_map, place, std), array, codebook)


def _paths(station: str, prior: PathPrior) -> list[PathForecast]:
    """List what a map predicts with some probability."""
    std = np.sqrt(np.maximum(np.diagonal(np.asarray(prior.covariance), axis1=-2, axis2=-1), 0.0))
    columns = (
        np.asarray(prior.probability), np.asarray(prior.departure_azimuth),
        np.asarray(prior.departure_zenith), std[:, 0], std[:, 1],
        delay_of(np.asarray(prior.length)), delay_of(std[:, 2]), np.asarray(prior.power),
    )  # fmt: skip
    return [
        PathForecast(station, *(float(value) for value in row))
        for row in zip(*columns)
        if row[0] >= _LEAST
    ]
