"""The straight line from a station to each user, beside the paths that were reported.

Takes `Reports` of one station.
Gives `StraightLine`: what a direct path must measure at both ends, and what each path measures.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float

from echoscape.reports.report import Reports
from echoscape.units import wrap_angle

_MOST = 2000
"""As many reports of a station are looked at, evenly chosen: enough to be sure of any habit."""
_LENGTH_ERROR = (0.5, 0.02)
"""What a direct path's length may be off besides stated errors: in metres, or of the distance."""
_EXACT_LENGTH = (0.02, 1e-4)
"""The same of computed paths: rounding of positions and of delays in single precision."""
_CROWDS = (_EXACT_LENGTH, (0.0, 2e-3), (0.0, 1e-2))
"""Widths at which lengths may crowd: computed paths, good sounders, poor ones; as above."""
_EXACT = 1e-3
"""So near the distance are lengths that were computed of positions given in full [m]."""
_ALIGNED = 1e-3
"""So near the straight line are directions that were computed [rad]."""
_TELLING = 0.1
"""A length that may err by a larger share of the distance does not tell a direct path."""

Mask = Bool[np.ndarray, "report path"]
Number = Float[np.ndarray, "report path"]


@dataclasses.dataclass(frozen=True)
class PathEnd:
    """Directions at one end of every path."""

    name: str
    """``departure`` or ``arrival``."""
    azimuth: Number
    """As reported [rad]."""
    zenith: Number
    """As reported [rad]."""
    azimuth_known: Mask
    """Whether it was measured."""
    zenith_known: Mask
    """Whether it was measured."""
    error: Number
    """Stated error, with that of the user's position [rad]."""
    expected_azimuth: Number
    """Along the straight line [rad]."""
    expected_zenith: Number
    """Along the straight line [rad]."""

    def deviation(self) -> Number:
        """Measure the angle between a path's direction and the straight line [rad].

        Where only the azimuth was measured it is the difference of azimuths.
        """
        level = np.where(self.zenith_known, self.zenith, self.expected_zenith)
        cosine = np.cos(level) * np.cos(self.expected_zenith) + np.sin(level) * np.sin(
            self.expected_zenith
        ) * np.cos(self.azimuth - self.expected_azimuth)
        return np.arccos(np.clip(cosine, -1.0, 1.0))

    def azimuth_deviation(self) -> Number:
        """Measure how far azimuths alone turn a direction off the straight line [rad]."""
        off = np.abs(wrap_angle(self.azimuth - self.expected_azimuth))
        return off * np.sin(self.expected_zenith)


@dataclasses.dataclass(frozen=True)
class StraightLine:
    """Reports of one station that have a path, beside the straight line."""

    station: str
    """Name of the station."""
    report: np.ndarray
    """Number of each report."""
    position: Float[np.ndarray, "report 3"]
    """Of the user [m]."""
    station_position: Float[np.ndarray, "3"]
    """Of the station [m]."""
    distance: Float[np.ndarray, "report 1"]
    """Of the user from the station [m]."""
    length: Number
    """Length of each path [m]; infinite in padding."""
    length_error: Number
    """Stated error of length and position [m]."""
    power: Number
    """Power of each path [1]."""
    valid: Mask
    """False for padding."""
    ends: tuple[PathEnd, PathEnd]
    """Departure and arrival."""

    def of_reports(self, rows: np.ndarray) -> "StraightLine":
        """Keep some reports.

        Args:
            rows: Their rows.
        """
        fixed = ("station", "name", "station_position", "ends")

        def pick(item, **changed):
            names = [f.name for f in dataclasses.fields(item) if f.name not in fixed]
            picked = {name: getattr(item, name)[rows] for name in names}
            return dataclasses.replace(item, **picked, **changed)

        one, other = self.ends
        return pick(self, ends=(pick(one), pick(other)))

    @property
    def excess(self) -> Number:
        """Length beyond the straight line [m]."""
        return np.where(self.valid, self.length, np.inf) - self.distance

    @property
    def direct_length(self) -> Mask:
        """Whether a path is as long as the straight line, within errors."""
        least, share = _LENGTH_ERROR
        limit = np.maximum(least, share * self.distance) + 3 * self.length_error
        return self.valid & (np.abs(self.excess) <= limit)

    @property
    def exact_length(self) -> Mask:
        """Whether a path is exactly as long as the straight line, within stated errors.

        False where those errors are too wide to tell a direct path from a detour.
        """
        least, share = _EXACT_LENGTH
        limit = np.maximum(least, share * self.distance) + 3 * self.length_error
        telling = 3 * self.length_error <= _TELLING * self.distance
        return self.valid & telling & (np.abs(self.excess) <= limit)

    @property
    def computed_length(self) -> Mask:
        """Whether a path is as long as the straight line beyond all chance; one is enough.

        Measured lengths are so by chance, but then the shortest paths of other reports miss the
        distance by little.
        """
        found = self.exact_length & (self.length_error == 0) & (np.abs(self.excess) <= _EXACT)
        count = int((found & self.first).sum())
        near = int((self.direct_length & self.first).sum())
        return found & (count >= min((0.8 if count < 2 else 0.5) * near, 2 + 0.15 * near))

    @property
    def crowded_length(self) -> Mask:
        """Mark shortest paths whose lengths crowd at the distance, as only direct ones do.

        Detours alone spread evenly above the distance, so that ten times the width holds ten times
        as many.  The narrowest width that holds a crowd counts; nothing is marked where none does.
        """
        for least, share in _CROWDS:
            width = np.maximum(least, share * self.distance) + 3 * self.length_error
            near = self.first & (np.abs(self.excess) <= width)
            beyond = self.valid & (self.excess > width) & (self.excess <= 11 * width)
            if near.sum() >= 3 and near.sum() > beyond.any(axis=1).sum():
                return near
        return np.zeros_like(self.valid)

    @property
    def aligned(self) -> Mask:
        """Whether a path runs exactly along the straight line at both ends: it is direct.

        One such path says what many within errors would.
        """
        found = self.valid.copy()
        for end in self.ends:
            found &= end.azimuth_known & end.zenith_known & (end.deviation() < _ALIGNED)
        return found

    @property
    def first(self) -> Mask:
        """Mark the shortest path of each report."""
        shortest = np.where(self.valid, self.length, np.inf).argmin(axis=1)
        return self.valid & (np.arange(self.valid.shape[1]) == shortest[:, None])


def straight_lines(reports: Reports, station: int) -> StraightLine | None:
    """Lay the straight line beside the paths of one station; None where it has no path."""
    paths = reports.estimates
    have = (reports.station_index == station) & np.asarray(paths.valid).any(axis=1)
    rows = np.flatnonzero(have)
    if not len(rows):
        return None
    rows = rows[np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).astype(int)]
    away = reports.position[rows] - reports.station_position[station]
    distance = np.linalg.norm(away, axis=1)[:, None]
    rows, away, distance = (each[distance[:, 0] > 0] for each in (rows, away, distance))
    if not len(rows):
        return None
    bearing = np.arctan2(away[:, 1], away[:, 0])[:, None]
    zenith = np.arccos(np.clip(away[:, 2:] / distance, -1.0, 1.0))
    valid = np.asarray(paths.valid)[rows]
    place = reports.position_std[rows][:, None]

    def take(name: str) -> Number:
        return np.asarray(getattr(paths, name), dtype=np.float64)[rows]

    def end(name: str, azimuth: np.ndarray, polar: np.ndarray) -> PathEnd:
        azimuth_std, zenith_std = take(f"{name}_azimuth_std"), take(f"{name}_zenith_std")
        stated = np.maximum(*(np.where(np.isfinite(s), s, 0) for s in (azimuth_std, zenith_std)))
        return PathEnd(
            name,
            take(f"{name}_azimuth"),
            take(f"{name}_zenith"),
            valid & np.isfinite(azimuth_std),
            valid & np.isfinite(zenith_std),
            stated + place / distance,
            np.broadcast_to(azimuth, valid.shape),
            np.broadcast_to(polar, valid.shape),
        )

    return StraightLine(
        station=reports.station[station],
        report=reports.report[rows],
        position=reports.position[rows],
        station_position=reports.station_position[station],
        distance=distance,
        length=np.where(valid, take("length"), np.inf),
        length_error=np.where(valid, take("length_std"), 0.0) + place,
        power=take("power"),
        valid=valid,
        ends=(
            end("departure", bearing, zenith),
            end("arrival", wrap_angle(bearing + math.pi), math.pi - zenith),
        ),
    )
