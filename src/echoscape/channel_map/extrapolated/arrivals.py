"""Reported paths with the directions that they come from, measured or read off the neighbours.

Where the user's arrival angle was not measured, every direction is tried: the one under which the
neighbouring reports hold a path of the length that it predicts is taken.  On a straight walk two
directions, mirrored at the walk, predict alike: a path keeps its two best readings.

Takes `ExtrapolatedPaths` without arrival directions.
Gives them with.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from echoscape.channel_map.storage import storable
from echoscape.estimation import AnyArray
from echoscape.units import wrap_angle

_DIRECTIONS = 72
_WITNESSES = 12  # nearest reports asked
_MISSED = 0.05  # likelihood, relative to a perfect match, of a report that lacks the path
_APART = 0.6  # between the two readings [rad]


@storable("carried-errors")
class Errors(eqx.Module):
    """What is learnt from reports that must predict one another.

    Where several reports are near, their own scatter does half of the spreading: widths come out
    roughly half to the whole of the errors that the sounder makes.
    """

    azimuth: Float[AnyArray, ""]
    """Width of a report's departure azimuth, as its own error and as a neighbour's [rad]."""
    length: Float[AnyArray, ""]
    """Width of its length, likewise [m]."""
    reach: Float[AnyArray, ""]
    """Width of the reports' weights [m]."""
    turn: Float[AnyArray, ""]
    """Deviation of a path's far end across it, for each metre that the user moved [1]."""
    stretch: Float[AnyArray, ""]
    """Deviation of its length for each metre that the user moved [1]."""
    unshared: Float[AnyArray, ""]
    """Expected number of paths of a pose that no other report has."""


@storable("carried-paths")
class ExtrapolatedPaths(eqx.Module):
    """Reported paths and where they come from, in arrays of [report, path]."""

    position: Float[AnyArray, "report 3"]
    """Where the users were [m]."""
    azimuth: Float[AnyArray, "report path"]
    """Departure azimuth [rad]."""
    zenith: Float[AnyArray, "report path"]
    """Departure zenith; level where it was not measured [rad]."""
    zenith_std: Float[AnyArray, "report path"]
    """Its deviation; very large where it was not measured [rad]."""
    length: Float[AnyArray, "report path"]
    """Length; 1 for padding [m]."""
    arrival: Float[AnyArray, "report path 3"]
    """Unit vector towards where the path comes from; zero where nothing tells [1]."""
    power: Float[AnyArray, "report path"]
    """Power gain, linear [1]."""
    share: Float[AnyArray, "report path"]
    """Probability of this reading of the path; zero for padding."""


def guess_arrivals(
    paths: ExtrapolatedPaths,
    unknown: Bool[np.ndarray, "report path"],
    errors: Errors,
    spacing: float,
) -> ExtrapolatedPaths:
    """Read the arrival directions of some paths off their neighbours.

    Args:
        paths: All paths.
        unknown: Those whose arrival direction is not known.
        errors: How well they were measured.
        spacing: Typical distance between reports [m].

    Returns:
        Twice as many readings of paths; those without a second one have no share.
    """
    place = paths.position
    count = min(_WITNESSES + 1, len(place))
    near = np.asarray(KDTree(place).query(place, k=count)[1]).reshape(len(place), -1)
    report, path = np.nonzero(unknown)
    angle = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    towards = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    first, second = np.zeros((2, *unknown.shape, 3))
    share, other = np.array(paths.share), np.zeros(unknown.shape)
    for r, p in zip(report, path):
        witness = near[r][near[r] != r]
        away = np.linalg.norm(place[witness] - place[r], axis=1)
        score = _score(paths, errors, r, p, witness, away, towards)
        weight = np.exp(-0.5 * (away / (3.0 * spacing)) ** 2)
        total = weight @ score
        if total.max() < 0.5 + weight.sum() * np.log(_MISSED):
            continue  # no neighbour has it
        best = int(np.argmax(total))
        first[r, p] = towards[best]
        far = np.abs(wrap_angle(angle - angle[best])) > _APART
        runner = int(np.argmax(np.where(far, total, -np.inf)))
        second[r, p] = towards[runner]
        odds = np.exp(min(total[runner] - total[best], 0.0))
        other[r, p] = share[r, p] * odds / (1.0 + odds)
        share[r, p] -= other[r, p]
    known = np.sum(paths.arrival**2, axis=-1) > 0.5
    first = np.where(known[..., None], paths.arrival, first)
    twice = lambda leaf: np.concatenate([leaf, leaf], axis=1)  # noqa: E731
    return ExtrapolatedPaths(
        position=place,
        azimuth=twice(paths.azimuth),
        zenith=twice(paths.zenith),
        zenith_std=twice(paths.zenith_std),
        length=twice(paths.length),
        arrival=np.concatenate([first, second], axis=1),
        power=twice(paths.power),
        share=np.concatenate([share, other], axis=1),
    )


def _score(
    paths: ExtrapolatedPaths, errors: Errors, r, p, witness, away, towards
) -> Float[np.ndarray, "witness direction"]:
    """Logarithm of how well each witness' paths fit each direction."""
    length = paths.length[r, p]
    image = paths.position[r] + length * towards
    predicted = np.linalg.norm(paths.position[witness][:, None] - image[None], axis=-1)
    length_variance = 2 * float(errors.length) ** 2 + (0.1 * away) ** 2
    turn_variance = 2 * float(errors.azimuth) ** 2 + (0.7 * away / length) ** 2
    turn = wrap_angle(paths.azimuth[witness] - paths.azimuth[r, p]) ** 2 / turn_variance[:, None]
    miss = (paths.length[witness][:, :, None] - predicted[:, None]) ** 2
    square = turn[:, :, None] + miss / length_variance[:, None, None]
    fits = np.where((paths.share[witness] > 0)[:, :, None], np.exp(-0.5 * square), 0.0)
    return np.log(_MISSED + np.minimum(fits.sum(axis=1), 1.0))
