"""Everything that is true of a walk's paths: identities, bounce points, Doppler.

Takes a ray-traced route, or the sample city.
Gives `Truth`.
"""

from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.propagation.traced_table import traced_arrays
from echoscape.scene.mesh import Mesh
from echoscape.studies.isac_channel.world import CARRIER, Route, lay_out, read_route, sample_paths
from echoscape.tracking import Tracks
from echoscape.units import wavenumber_of

_FIELDS = ("track", "nb", "vert", "doppler_hz", "dup")


class Truth(eqx.Module):
    """A route and what an observer of it cannot know, in the order of `Route.path` (numpy)."""

    route: Route
    """The walk."""
    identity: Int[np.ndarray, "time path"]
    """Same number, same sequence of walls."""
    bounces: Int[np.ndarray, "time path"]
    """Number of reflections."""
    first: Float[np.ndarray, "time path 3"]
    """First bounce [m]."""
    last: Float[np.ndarray, "time path 3"]
    """Last bounce [m]."""
    doppler: Float[np.ndarray, "time path"]
    """Shift of the carrier [Hz]."""


def read_truth(path: str | Path, seconds: float | None = None) -> Truth:
    """Read a ray-traced route with the arrays `track`, `nb`, `vert`, `doppler_hz` and `dup`."""
    route = read_route(path)
    table = traced_arrays(path, (*_FIELDS, "offset", "a_re", "a_im"))
    keep = ~table["dup"]
    owner = np.repeat(np.arange(len(route.time)), np.diff(table["offset"]))[keep]
    power = (table["a_re"].astype(float) ** 2 + table["a_im"].astype(float) ** 2)[keep]
    count = table["nb"].astype(int)
    end = table["vert"][np.arange(len(count)), np.maximum(count - 1, 0)]
    columns = np.concatenate(
        [table["track"][:, None], count[:, None], table["doppler_hz"][:, None],
         table["vert"][:, 0], end], axis=1, dtype=float,
    )[keep]  # fmt: skip
    return _truth(route, lay_out(owner, columns, power, len(route.time), 25.0)[0], seconds)


def sample_truth(seconds: float | None = None) -> tuple[Truth, Mesh]:
    """Walk through the sample city; also gives its walls."""
    route, mesh, found = sample_paths(seconds)
    identity = np.unique(found.sequence, axis=0, return_inverse=True)[1].reshape(-1)
    toward = found.image - route.position[found.place]
    unit = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    speed = np.sum(unit * route.velocity[found.place], axis=1)
    columns = np.concatenate(
        [identity[:, None], found.bounces[:, None],
         wavenumber_of(speed * CARRIER)[:, None], found.first, found.last], axis=1,
    )  # fmt: skip
    power = np.abs(found.gain) ** 2
    laid = lay_out(found.place, columns, power, len(route.time), 25.0)[0]
    return _truth(route, laid, None), mesh


def kept_assignments(found: Tracks, truth: Truth) -> tuple[int, int]:
    """Count paths seen at two successive instants, and those whose track stayed the same."""
    detection, identity = np.asarray(found.record.detection), np.asarray(found.record.identity)
    instant, slot = np.nonzero(detection >= 0)
    column = detection[instant, slot]
    true = truth.route.power[instant, column] > 0
    owner = np.where(true, truth.identity[instant, column], -1)[true]
    table = np.full((len(detection), int(truth.identity.max()) + 1), -1)
    table[instant[true], owner] = identity[instant, slot][true]
    both = (table[1:] >= 0) & (table[:-1] >= 0)
    return int(np.sum(both & (table[1:] == table[:-1]))), int(both.sum())


def _truth(route: Route, laid: np.ndarray, seconds: float | None) -> Truth:
    keep = np.ones(len(route.time), bool)
    if seconds is not None:
        keep = route.time - route.time[0] < seconds
    kept = {f: getattr(route, f)[keep] for f in ("time", "position", "velocity", "path", "power")}
    laid = laid[keep]
    return Truth(
        Route(station=route.station, **kept), laid[..., 0].astype(int), laid[..., 1].astype(int),
        laid[..., 3:6], laid[..., 6:9], laid[..., 2],
    )  # fmt: skip
