"""A user's route and the true paths along it: what the study of channels over time is judged by.

Takes a ray-traced route, or the sample city, whose paths come from images in its walls.
Gives `Route`, its noisy observations, and its true spreads.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from echoscape.channel_model import Spreads, spreads
from echoscape.estimation import PathEstimates
from echoscape.propagation.traced_table import traced_arrays
from echoscape.propagation.wall_images import SpecularPaths, trace
from echoscape.reports import Observations
from echoscape.sample import load_sample
from echoscape.scene.mesh import Mesh, make_mesh
from echoscape.units import delay_of, from_db, length_of, wrap_angle

CARRIER = 28e9
"""Carrier of the sample city's route [Hz]."""
_CORNERS = np.array([[96.0, 52.0, 1.2], [120.0, 177.0, 1.2], [216.0, 149.5, 1.2]])
_STATION = np.array([120.4, 222.4, 10.0])
_FIELDS = (
    "t",
    "pos",
    "vel",
    "offset",
    "a_re",
    "a_im",
    "tau_ns",
    "aod",
    "eod",
    "aoa",
    "eoa",
    "tx_pos",
)


class Route(eqx.Module):
    """True paths along a route, padded (numpy)."""

    time: Float[np.ndarray, " time"]
    """When, evenly spaced [s]."""
    position: Float[np.ndarray, "time 3"]
    """Where the user is [m]."""
    velocity: Float[np.ndarray, "time 3"]
    """How fast [m/s]."""
    station: Float[np.ndarray, "3"]
    """Position of the station [m]."""
    path: Float[np.ndarray, "time path 5"]
    """Length [m], arrival and departure azimuth and zenith, `tracking.anchor.MEASURED` [rad]."""
    power: Float[np.ndarray, "time path"]
    """Power gain; zero for padding [1]."""


def read_route(path: str | Path, dynamic_range: float = 25.0) -> Route:
    """Read a ray-traced table of ``docs/formats.md`` that also has ``t``, ``vel`` and ``tx_pos``.

    Args:
        path: An ``.npz`` file; rows that its ``dup`` marks are left out.
        dynamic_range: Paths further below the strongest are left out [dB].
    """
    stored = traced_arrays(path, _FIELDS)
    table = {name: stored[name].astype(float) for name in _FIELDS}
    keep = ~stored["dup"] if "dup" in stored else np.ones(len(table["a_re"]), bool)
    owner = np.repeat(np.arange(len(table["t"])), np.diff(table["offset"]).astype(int))
    power = table["a_re"] ** 2 + table["a_im"] ** 2
    measured = np.stack(
        [
            length_of(table["tau_ns"] * 1e-9),
            table["aoa"],
            0.5 * np.pi - table["eoa"],
            table["aod"],
            0.5 * np.pi - table["eod"],
        ],
        axis=1,
    )
    laid = lay_out(owner[keep], measured[keep], power[keep], len(table["t"]), dynamic_range)
    return Route(table["t"], table["pos"], table["vel"], table["tx_pos"], *laid)


def sample_route(
    seconds: float | None = None, rate: float = 10.0, dynamic_range: float = 25.0
) -> tuple[Route, Mesh]:
    """Walk round a corner of the sample city at 1 m/s, its paths traced by images.

    Args:
        seconds: Length of the walk; all of it if not given [s].
        rate: Instants per second [Hz].
        dynamic_range: Paths further below the strongest are left out [dB].

    Returns:
        The route, and the walls.
    """
    return sample_paths(seconds, rate, dynamic_range)[:2]


def sample_paths(
    seconds: float | None = None, rate: float = 10.0, dynamic_range: float = 25.0
) -> tuple[Route, Mesh, SpecularPaths]:
    """Walk as `sample_route` does, and give all paths as they were traced, too."""
    scene = load_sample().scene
    mesh = make_mesh(np.asarray(scene["vertices"], float), np.asarray(scene["faces"]))
    leg = np.linalg.norm(np.diff(_CORNERS, axis=0), axis=1)
    end = leg.sum() if seconds is None else min(seconds, leg.sum())
    time = np.arange(0.0, end, 1 / rate)
    along = np.concatenate([[0.0], np.cumsum(leg)])
    position = np.stack([np.interp(time, along, _CORNERS[:, i]) for i in range(3)], axis=1)
    unit = np.diff(_CORNERS, axis=0) / leg[:, None]
    velocity = unit[np.clip(np.searchsorted(along, time, side="right") - 1, 0, len(unit) - 1)]
    found = trace(mesh, _STATION, position, CARRIER)
    measured, power = measured_paths(found, _STATION, position)
    laid = lay_out(found.place, measured, power, len(time), dynamic_range)
    return Route(time, position, velocity, _STATION, *laid), mesh, found


def measured_paths(
    found: SpecularPaths, station: Float[np.ndarray, "3"], position: Float[np.ndarray, "place 3"]
) -> tuple[Float[np.ndarray, "path 5"], Float[np.ndarray, " path"]]:
    """Give traced paths as a receiver measures them, and their power gains.

    Args:
        found: The paths.
        station: Position of the station [m].
        position: Where they end [m].
    """
    end = position[found.place]
    direct = (found.bounces == 0)[:, None]
    back = np.where(direct, station - end, found.last - end)
    measured = [found.length, *_angles(back), *_angles(found.first - station)]
    return np.stack(measured, axis=1), np.abs(found.gain) ** 2


def observe_route(
    route: Route,
    rng: np.random.Generator,
    *,
    length_std: float = 0.3,
    departure_std: float = 0.5,
    arrival_std: float = 1.0,
    missed: float = 0.1,
    false: float = 0.05,
) -> Observations:
    """Observe every path with noise, misses and false detections; only the start is known.

    Args:
        route: The truth.
        rng: Random numbers.
        length_std: Error of lengths [m].
        departure_std: Error of departure angles [degree].
        arrival_std: Error of arrival angles [degree].
        missed: Share of paths that are missed.
        false: False detections for each true one.
    """
    there = route.power > 0
    std = np.array([length_std, *np.radians([arrival_std] * 2 + [departure_std] * 2)])
    noisy = route.path + std * rng.normal(size=route.path.shape)
    kept = there & (rng.random(there.shape) >= missed)
    # false ones take the place of padding and of what was missed
    count = rng.binomial(there.sum(axis=1), false)
    rank = np.cumsum(~kept, axis=1)
    wrong = ~kept & (rank <= count[:, None])
    low = [60.0, -np.pi, 1.3, -np.pi, 1.3]
    high = [360.0, np.pi, 1.8, np.pi, 1.8]
    noisy = np.where(wrong[..., None], rng.uniform(low, high, noisy.shape), noisy)
    valid = kept | wrong
    typical = 1e-2 * route.power.max(axis=1, keepdims=True)
    power = np.where(wrong, typical, np.where(kept, route.power, 0.0))
    spread = np.where(valid[..., None], std, 0.0)
    known = np.arange(len(route.time)) == 0
    estimates = PathEstimates(
        departure_azimuth=np.where(valid, wrap_angle(noisy[..., 3]), 0.0),
        departure_zenith=np.where(valid, np.clip(noisy[..., 4], 0, np.pi), 0.0),
        arrival_azimuth=np.where(valid, wrap_angle(noisy[..., 1]), 0.0),
        arrival_zenith=np.where(valid, np.clip(noisy[..., 2], 0, np.pi), 0.0),
        length=np.where(valid, np.maximum(noisy[..., 0], 0.0), 0.0),
        power=power,
        departure_azimuth_std=spread[..., 3],
        departure_zenith_std=spread[..., 4],
        arrival_azimuth_std=spread[..., 1],
        arrival_zenith_std=spread[..., 2],
        length_std=spread[..., 0],
        valid=valid,
    )
    row: Int[np.ndarray, "time path"] = np.cumsum(valid).reshape(valid.shape) - 1
    return Observations(
        estimates=estimates,
        time=route.time,
        user_position=np.where(known[:, None], route.position, 0.0),
        user_known=known,
        row=np.where(valid, row, -1),
    )


@eqx.filter_jit
def _spreads(path: jax.Array, power: jax.Array) -> Spreads:
    length, arrival, rising, departure, falling = jnp.moveaxis(path, -1, 0)
    delay = delay_of(length)
    return jax.vmap(spreads)(power, delay, departure, falling, arrival, rising)


def spreads_over_time(
    path: Float[np.ndarray, "time path 5"], power: Float[np.ndarray, "time path"]
) -> Spreads:
    """Measure the spreads of padded paths at every instant (numpy)."""
    return jax.tree.map(np.asarray, _spreads(jnp.asarray(path), jnp.asarray(power)))


def lay_out(
    owner: np.ndarray, measured: np.ndarray, power: np.ndarray, instants: int, dynamic_range: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pad rows to sets, strongest first, without those far below the strongest."""
    strongest = np.zeros(instants)
    np.maximum.at(strongest, owner, power)
    keep = power > strongest[owner] * from_db(-dynamic_range)
    owner, measured, power = owner[keep], measured[keep], power[keep]
    order = np.lexsort((-power, owner))
    owner, measured, power = owner[order], measured[order], power[order]
    start = np.searchsorted(owner, np.arange(instants))
    slot = np.arange(len(owner)) - start[owner]
    width = int(slot.max()) + 1 if len(slot) else 1
    path = np.zeros((instants, width, measured.shape[1]))
    strength = np.zeros((instants, width))
    path[owner, slot], strength[owner, slot] = measured, power
    return path, strength


def _angles(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    level = np.hypot(vector[:, 0], vector[:, 1])
    return np.arctan2(vector[:, 1], vector[:, 0]), np.arctan2(level, vector[:, 2])
