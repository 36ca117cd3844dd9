"""Paths ahead of the last observation, their births and deaths foretold by the map.

Anchors say where the paths that are followed will come from; they do not say when a wall ends.  The
map does: images in its walls give every path that a later place can have.  A path of the map that
is one of the followed keeps the strength that was observed, relative to what reflection theory says
of it.  Those excesses also tell what each wall, and walls at large, lose beyond theory, whose
material is a guess; a path that nobody has seen yet is born with theory's strength so corrected.

Takes `Tracks`, one of their instants, the power of each track then, a `Mesh`, and later times.
Gives `MapForecast`: the paths at those times, with powers.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from echoscape.checks import InputError
from echoscape.propagation.ray_cast import BoxTree, build_tree
from echoscape.propagation.wall_images import SpecularPaths, launch, trace
from echoscape.scene.mesh import Mesh
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.forecast import forecast
from echoscape.tracking.tracks import Tracks, TrackStatus
from echoscape.units import wrap_angle

GATE = (2.0, *np.radians([4.0, 4.0, 3.0, 3.0]))
"""How far a track may be from a path of the map and still be it, `anchor.MEASURED` [m, rad]."""
TRUSTED = 10.0
"""An observed strength further from theory than this is not carried along [dB]."""


COMMON_STD, WALL_STD, EXCESS_STD = 4.0, 1.0, 0.5
"""What walls at large, one wall, and one path may add to theory, standard deviations [dB]."""


class WallMap(eqx.Module):
    """A mesh made ready: what rays meet, and which walls can reflect at all (numpy)."""

    mesh: Mesh
    """The walls."""
    tree: BoxTree
    """The same for casting rays."""
    sequence: Int[np.ndarray, "sequence bounce"]
    """Sequences of walls met by rays from the station, padded by -1."""


class MapForecast(eqx.Module):
    """Paths at later times, padded (numpy)."""

    time: Float[np.ndarray, " ahead"]
    """When [s]."""
    user: Float[np.ndarray, "ahead 3"]
    """Where the user is thought to be [m]."""
    path: Float[np.ndarray, "ahead path 5"]
    """`anchor.MEASURED` of each path [m, rad]."""
    power: Float[np.ndarray, "ahead path"]
    """Power gain, zero for padding [1]."""
    identity: Int[np.ndarray, "ahead path"]
    """Track that goes on in this path, -1 for one that is born later."""


def prepare_map(
    mesh: Mesh, station: Float[np.ndarray, "3"], *, rays: int = 100_000, depth: int = 4
) -> WallMap:
    """Launch rays from the station once, for any number of forecasts.

    Args:
        mesh: The walls.
        station: Position of the station [m].
        rays: How many are launched.
        depth: Most reflections.
    """
    tree = build_tree(mesh)
    return WallMap(mesh, tree, launch(mesh, tree, np.asarray(station, float), rays, depth))


def forecast_with_map(
    tracks: Tracks,
    power: Float[np.ndarray, " slot"],
    walls: WallMap,
    carrier_frequency: float,
    time: Float[np.ndarray, " ahead"],
    position: Float[np.ndarray, "ahead 3"] | None = None,
    *,
    instant: int = -1,
    settings: JointFilter | None = None,
) -> MapForecast:
    """Predict all paths at later times: those that go on, and those that begin.

    Args:
        tracks: Anchors and the user.
        power: Power gain of each track at the instant, zero where it is not known [1].
        walls: The map.
        carrier_frequency: Carrier, for the strength of reflections [Hz].
        time: When, rising, none before the instant [s].
        position: Where the user will be then; straight on if not given [m].
        instant: Number of the instant from which on nothing is observed.
        settings: How the user's velocity wanders.

    Returns:
        Paths of the map at those times.  A followed path that the map explains is predicted by its
        anchor, which is measured; one that it cannot explain is left out, since nothing says how
        long it lasts.

    Raises:
        InputError: Times, powers or tracks cannot be used; see `forecast`.
    """
    power = np.asarray(power, float)
    if power.shape != tracks.status.shape[1:] or not (np.isfinite(power) & (power >= 0)).all():
        raise InputError(
            "a forecast needs one power gain, zero or above, for each of the "
            f"{tracks.status.shape[1]} slots of the tracks; got shape {power.shape}"
        )
    ahead = forecast(tracks, time, position, instant=instant, settings=settings)
    now = np.asarray(tracks.record.user)[instant, :3]
    later = np.asarray(ahead.record.user)[:, :3]
    found = trace(
        walls.mesh, tracks.station, np.concatenate([now[None], later]), carrier_frequency,
        sequences=walls.sequence, tree=walls.tree,
    )  # fmt: skip
    measured = measure_paths(found, tracks.station, np.concatenate([now[None], later]))
    theory = np.abs(found.gain) ** 2
    present = forecast(tracks, tracks.time[[instant]], now[None], instant=instant)
    expected = np.asarray(present.record.predicted)[0]
    believed = (tracks.status[instant] >= TrackStatus.TRACKED) & (power > 0)
    here = np.flatnonzero(found.place == 0)
    slot, row = _pair(expected, believed, measured[here])
    excess = 10 * np.log10(power[slot] / theory[here[row]])
    usual = wall_excess(walls.mesh, found.sequence[here[row]], excess, found.sequence)
    owner = {tuple(found.sequence[here[r]]): k for k, r in enumerate(row)}
    which = np.array([owner.get(tuple(s), -1) for s in found.sequence.tolist()], int)
    own = np.append(excess, 0.0)[which]
    trusted = (which >= 0) & (np.abs(own - usual) < TRUSTED)
    strength = theory * 10 ** (0.1 * np.where(trusted, own, usual))
    number = np.append(np.asarray(tracks.record.identity)[instant][slot], -1)[which]
    followed = which >= 0
    predicted = np.asarray(ahead.record.predicted)
    at = np.maximum(found.place - 1, 0)
    slots = np.append(slot, 0)[which]
    measured = np.where(followed[:, None], predicted[at, slots], measured)
    laid = _lay_out(len(later), found, measured, strength, number)
    return MapForecast(np.asarray(time, float), later, *laid)


def wall_excess(
    mesh: Mesh,
    seen: Int[np.ndarray, "seen bounce"],
    excess: Float[np.ndarray, " seen"],
    wanted: Int[np.ndarray, "path bounce"],
) -> Float[np.ndarray, " path"]:
    """Explain excesses over theory by what each wall adds, and say what other paths will have [dB].

    The posterior mean of a Gaussian model: every upright wall adds one unknown common to all, every
    level face another, and each wall its own deviation, `WALL_STD`.

    Args:
        mesh: The walls.
        seen: Sequences of walls that were observed, padded by -1.
        excess: Their observed strength over theory [dB].
        wanted: Sequences that it is asked for.
    """
    slope = np.zeros(int(mesh.wall.max()) + 1)
    np.maximum.at(slope, mesh.wall, np.abs(mesh.normal[:, 2]))

    def shares(sequence):
        there, wall = sequence >= 0, np.maximum(sequence, 0)
        level = there & (slope[wall] > 0.7)
        return np.stack([(there & ~level).sum(axis=1), level.sum(axis=1)], axis=1).astype(float)

    def alike(one, two):
        same = (one[:, None, :, None] == two[None, :, None]) & (one >= 0)[:, None, :, None]
        common = COMMON_STD**2 * shares(one) @ shares(two).T
        return common + WALL_STD**2 * same.sum(axis=(2, 3))

    clutter = EXCESS_STD**2 * np.eye(len(seen))
    return alike(wanted, seen) @ np.linalg.solve(alike(seen, seen) + clutter, excess)


def measure_paths(
    paths: SpecularPaths, station: Float[np.ndarray, "3"], place: Float[np.ndarray, "place 3"]
) -> Float[np.ndarray, "path 5"]:
    """Give specular paths as a receiver measures them, `anchor.MEASURED` [m, rad]."""
    end = place[paths.place]
    back, out = paths.image - end, paths.first - station
    return np.stack([paths.length, *_angles(back), *_angles(out)], axis=1)


def _angles(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    level = np.hypot(vector[:, 0], vector[:, 1])
    return np.arctan2(vector[:, 1], vector[:, 0]), np.arctan2(level, vector[:, 2])


def _pair(
    expected: np.ndarray, believed: np.ndarray, measured: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find which track is which path of the map, each at most once and within `GATE`."""
    slot = np.flatnonzero(believed)
    apart = measured[None] - expected[slot, None]
    apart[..., [1, 3]] = wrap_angle(apart[..., [1, 3]])
    apart = np.abs(apart) / np.array(GATE)
    outside = np.asarray(np.any(apart > 1, axis=-1))
    cost = np.where(outside, 1e3, np.sum(apart**2, axis=-1))
    first, second = linear_sum_assignment(cost)
    good = ~outside[first, second]
    return slot[first[good]], second[good]


def _lay_out(
    count: int,
    found: SpecularPaths,
    measured: np.ndarray,
    strength: np.ndarray,
    number: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pad the rows of all later places to sets."""
    rows = np.flatnonzero(found.place > 0)
    place = found.place[rows] - 1
    slot = np.arange(len(rows)) - np.searchsorted(place, place)
    shape = (count, int(slot.max(initial=0)) + 1)
    path, power = np.zeros((*shape, 5)), np.zeros(shape)
    identity = np.full(shape, -1)
    path[place, slot], power[place, slot] = measured[rows], strength[rows]
    identity[place, slot] = number[rows]
    return path, power, identity
