"""All paths of a user who moves, as a ray tracer found them: the sets of one route.

Takes a flat table of ``docs/formats.md``, or what `propagation.sionna_rt` traced.
Gives `TracedRoute`, and writes it as such a table.
"""

from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from echoscape.checks import InputError
from echoscape.propagation.path import Paths
from echoscape.propagation.traced_table import traced_arrays
from echoscape.units import length_of

_NEEDED = ("t", "pos", "offset", "tau_ns", "aod", "eod", "aoa", "eoa")
_MOST_CELLS = 20_000_000  # of padded sets; each takes about 200 bytes in all


class TracedRoute(eqx.Module):
    """True paths along a route (numpy)."""

    time: Float[np.ndarray, " time"]
    """When, rising [s]."""
    position: Float[np.ndarray, "time 3"]
    """Where the user is [m]."""
    velocity: Float[np.ndarray, "time 3"]
    """How fast [m/s]."""
    station: Float[np.ndarray, "3"]
    """Position of the station [m]."""
    paths: Paths
    """The paths at each time; `identity` is -1 where the tracer tells none."""
    jones: Complex[np.ndarray, "time path 2 2"] | None
    """Amplitudes of receive by transmit polarisation, vertical before horizontal, without the
    carrier phase [1]."""
    carrier_frequency: float = eqx.field(static=True)
    """Carrier [Hz]."""


def read_traced_route(
    source: str | Path | Mapping[str, np.ndarray],
    carrier_frequency: float,
    station: Float[np.ndarray, "3"] | None = None,
) -> TracedRoute:
    """Read a table whose rows ``offset[k]`` to ``offset[k + 1]`` are the paths at time ``t[k]``.

    Args:
        source: An ``.npz`` file or its arrays: `t`, `pos`, `offset`, `tau_ns`, `aod`, `eod`, `aoa`,
            `eoa`, and `a_re`, `a_im` or, of shape (rows, 2, 2), `A_re`, `A_im`; if given also
            `vel`, `tx_pos`, `track`, `dup`, `nb`, `vert`, `doppler_hz`.
        carrier_frequency: Carrier [Hz].
        station: Position of the station, where the table has no `tx_pos` [m].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no such table.
    """
    name = "the ray-traced table" if isinstance(source, Mapping) else str(source)
    table = traced_arrays(source, _NEEDED)
    jointly = "A_re" in table
    for needed in ("A_re", "A_im") if jointly else ("a_re", "a_im"):
        if needed not in table:
            raise InputError(f"{name} is no ray-traced route: it lacks the array {needed!r}")
    if station is None:
        if "tx_pos" not in table:
            raise InputError(
                f"{name} has no tx_pos, where the station is; give --station X,Y,Z [m]"
            )
        station = table["tx_pos"].astype(float)
    time, position = table["t"].astype(float), table["pos"].astype(float)
    offset = table["offset"].astype(np.int64)
    rows = len(table["tau_ns"])
    if len(time) < 2 or (np.diff(time) <= 0).any():
        raise InputError(
            f"{name} needs at least two times that rise, in s; got {time[:3].tolist()}"
        )
    widest = int(np.diff(offset).max())
    if widest * len(time) > _MOST_CELLS:
        raise InputError(
            f"{name} has {widest} paths at one of its {len(time)} times, too many to lay out at "
            "all of them; leave out the weakest paths, or split the route"
        )
    owner = np.repeat(np.arange(len(time)), np.diff(offset))
    keep = ~np.asarray(table["dup"], bool) if "dup" in table else np.ones(rows, bool)
    owner, first = owner[keep], np.concatenate([[0], np.cumsum(np.bincount(owner[keep]))])
    slot = np.arange(len(owner)) - first[owner]
    shape = (len(time), int(slot.max(initial=0)) + 1)

    def lay(values: np.ndarray, empty: float | int | complex = 0) -> np.ndarray:
        values = np.asarray(values)[keep]
        laid = np.full((*shape, *values.shape[1:]), empty, values.dtype)
        laid[owner, slot] = values
        return laid

    delay = table["tau_ns"].astype(float) * 1e-9
    matrix = None
    if jointly:
        matrix = np.asarray(table["A_re"], float) + 1j * np.asarray(table["A_im"], float)
        amplitude = matrix[:, 0, 0]
    else:
        amplitude = np.asarray(table["a_re"], float) + 1j * np.asarray(table["a_im"], float)
    bounces = np.asarray(table["nb"], np.int64) if "nb" in table else np.zeros(rows, np.int64)
    first_bounce = last_bounce = np.zeros((rows, 3))
    if "vert" in table and "nb" in table:
        vertex = np.asarray(table["vert"], float)
        at = np.maximum(bounces - 1, 0)
        first_bounce, last_bounce = vertex[:, 0], vertex[np.arange(rows), at]
    identity = np.asarray(table["track"], np.int64) if "track" in table else np.full(rows, -1)
    doppler = table["doppler_hz"].astype(float) if "doppler_hz" in table else np.zeros(rows)
    turn = carrier_frequency * delay
    velocity = np.asarray(table["vel"], float) if "vel" in table else np.gradient(
        position, time, axis=0
    )  # fmt: skip
    paths = Paths(
        gain=jnp.asarray(lay(amplitude * np.exp(-2j * np.pi * (turn - np.round(turn))))),
        length=jnp.asarray(length_of(lay(delay))),
        departure_azimuth=jnp.asarray(lay(table["aod"].astype(float))),
        departure_zenith=jnp.asarray(lay(0.5 * np.pi - table["eod"].astype(float))),
        arrival_azimuth=jnp.asarray(lay(table["aoa"].astype(float))),
        arrival_zenith=jnp.asarray(lay(0.5 * np.pi - table["eoa"].astype(float))),
        doppler=jnp.asarray(lay(doppler)),
        bounces=jnp.asarray(lay(bounces)),
        first_bounce=jnp.asarray(lay(first_bounce)),
        last_bounce=jnp.asarray(lay(last_bounce)),
        identity=jnp.asarray(lay(identity, -1)),
        valid=jnp.asarray(lay(np.ones(rows, bool))),
    )
    jones = None if matrix is None else lay(matrix)
    return TracedRoute(time, position, velocity, station, paths, jones, carrier_frequency)


def traced_table(route: TracedRoute) -> dict[str, np.ndarray]:
    """Lay a route out as the flat table that `read_traced_route` reads, nothing lost."""
    paths = route.paths
    valid = np.asarray(paths.valid)
    turn = route.carrier_frequency * np.asarray(paths.delay)
    amplitude = (np.asarray(paths.gain) * np.exp(2j * np.pi * (turn - np.round(turn))))[valid]
    columns = {
        "tau_ns": np.asarray(paths.delay) * 1e9,
        "aod": paths.departure_azimuth,
        "eod": 0.5 * np.pi - np.asarray(paths.departure_zenith),
        "aoa": paths.arrival_azimuth,
        "eoa": 0.5 * np.pi - np.asarray(paths.arrival_zenith),
        "doppler_hz": paths.doppler,
        "nb": paths.bounces,
        "track": paths.identity,
    }
    table = {name: np.asarray(values)[valid] for name, values in columns.items()}
    if route.jones is None:
        table |= {"a_re": np.real(amplitude), "a_im": np.imag(amplitude)}
    else:
        matrix = route.jones[valid]
        table |= {"A_re": np.real(matrix), "A_im": np.imag(matrix)}
    # first and last bounce of several are the ends of a row; those between are not kept
    ends = np.stack([np.asarray(paths.first_bounce), np.asarray(paths.last_bounce)], axis=-2)[valid]
    depth = max(int(table["nb"].max(initial=1)), 1)
    vertex = np.zeros((len(ends), depth, 3))
    vertex[:, 0] = ends[:, 0]
    vertex[np.arange(len(ends)), np.maximum(table["nb"] - 1, 0)] = ends[:, 1]
    return table | {
        "vert": vertex,
        "t": route.time,
        "pos": route.position,
        "vel": route.velocity,
        "tx_pos": route.station,
        "offset": np.concatenate([[0], np.cumsum(valid.sum(axis=1))]),
    }
