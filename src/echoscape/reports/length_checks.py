"""Whether lengths, powers and positions of direct paths fit each other.

Takes `StraightLine` and which of its paths are direct.
Gives findings about units, clocks, round trips, amplitudes and doubled paths.
"""

import math

import numpy as np

from echoscape.reports.finding import Cause, Finding
from echoscape.reports.report import Reports
from echoscape.reports.straight_line import Mask, StraightLine
from echoscape.units import delay_of, wrap_angle

_LEAST_OFFSET = 0.05
"""A length that all direct paths share beyond the distance is a fault from here on, however exact
they are [m]."""
_SCALES = {
    1000.0: "the positions are in kilometres and must be multiplied by 1000, or the delays are "
    "1000 times too long",
    1e-3: "the positions are in millimetres and must be divided by 1000, or the delays are 1000 "
    "times too short",
    0.01: "the positions are in centimetres and must be divided by 100",
    100.0: "the positions are in hectometres, or the delays are 100 times too long",
    0.3048: "the positions are in feet and must be multiplied by 0.3048",
    1 / 0.3048: "the lengths are in feet and must be multiplied by 0.3048",
    3.6: "lengths and positions are in different units",
}
_SCALE_ERROR = 0.02  # relative
_SHARE_AT_ZERO = 0.1
"""So many first delays of zero are no outliers: they count from the line of sight."""
_STRONGEST = 2.4
"""A direct path of length d gains at most (this / d)^2: 20 dB of antennas at 100 MHz [m]."""
_LOUD = 0.08
"""Powers above (this / d)^2 are rare: 0 dB of antennas at 300 MHz; amplitudes are beyond it [m]."""
_MANY = 12
"""From so many values on, their scatter is known well enough for standard errors."""
_SEVERAL = 5
"""Fewer reports may all stand beside the station, where first paths are long by chance."""
_SAME, _SHARE_SAME = 1e-9, 2e-3
"""Paths this near in metres and radians are copies; ray tracers make some by chance."""
_CLOSE, _SHARE_CLOSE = 1e-4, 0.2
"""Paths this near may be two that a ray tracer found at one wall; a fifth of all are too many."""
_CROWDED = 100.0
"""First paths that differ by so many times the users' distances are not of these positions."""


def check_extent(line: StraightLine) -> list[Finding]:
    """Compare how far users are apart with how much their shortest paths differ."""
    if len(line.position) < 2 * _SEVERAL:
        return []
    one, two = np.triu_indices(len(line.position), 1)
    apart = float(np.median(np.linalg.norm(line.position[one] - line.position[two], axis=1)))
    shortest = np.where(line.valid, line.length, np.inf).min(axis=1)
    differ = float(np.median(np.abs(shortest[one] - shortest[two])))
    error = float(np.median(line.length_error[line.valid]))
    if apart == 0 or differ < _CROWDED * apart or differ < max(1.0, 6 * error):
        return []
    return [
        Finding(
            Cause.LENGTH_UNIT,
            f"users stand {apart:.2g} m apart (median), but their shortest paths differ by "
            f"{differ:.2g} m: if the positions are in kilometres, multiply them by 1000; if each "
            "user's clock is its own, the delays are relative",
            line.station,
            "crowded",
        )
    ]


def check_lengths(line: StraightLine, direct: Mask) -> list[Finding]:
    """Compare the lengths of direct paths with the distances."""
    shortest = np.where(direct, line.length, np.inf).min(axis=1)
    have = np.isfinite(shortest)
    length, distance = shortest[have], line.distance[have, 0]
    error = float(np.median(np.where(direct, line.length_error, 0.0).max(axis=1)[have]))
    far = float(np.median(distance))
    off = length - distance
    middle, scatter = middle_and_scatter(off)
    limit = max(_LEAST_OFFSET, surely(scatter, len(off)), 3 * error / math.sqrt(len(off)))
    if abs(middle) <= max(limit, 1e-4 * far) and scatter <= max(1.0, 0.05 * far) + 3 * error:
        return _too_short(line)
    ratio = float(np.median(length / distance))
    spread = 1.48 * float(np.median(np.abs(length / distance - ratio))) / max(ratio, 1e-9)
    # A clock's offset leaves the differences as they are; a unit leaves the ratios.
    if spread < _SCALE_ERROR and (spread * float(np.median(length)) < scatter or len(off) < 3):
        for scale, cure in _SCALES.items():
            if abs(ratio / scale - 1) < _SCALE_ERROR:
                return [_scale(line, len(off), ratio, cure)]
        if abs(ratio / 2 - 1) < _SCALE_ERROR:
            return [Finding(
                Cause.ROUND_TRIP,
                f"{len(off)} paths run straight from station to user, but are twice as long as the "
                "distance: these are delays there and back, so halve them",
                line.station,
                "round trip",
            )]  # fmt: skip
        if len(off) >= 3 and abs(ratio - 1) > 3 * _SCALE_ERROR and ratio > 1e-3:
            cure = "lengths and positions are in different units, make them agree"
            return [_scale(line, len(off), ratio, cure)]
    few = len(off) < 3 and not line.aligned[direct].all()
    if few or abs(middle) <= limit or scatter > max(1.0, 0.05 * far):
        return _too_short(line)
    if _bounce_length(line, direct) > 0.3 * middle > 0:
        return _too_short(line)
    return [Finding(
        Cause.DELAY_OFFSET,
        f"the lengths of {len(off)} direct path{'s' if len(off) > 1 else ''} differ from the "
        f"distance by {middle:+.2f} m ({delay_of(middle) * 1e9:+.1f} ns) alike: check "
        "the clock, subtract this from every delay, or fit the map with --unknown station-clock",
        line.station,
        f"offset {middle:.2f}",
    )]  # fmt: skip


def _bounce_length(line: StraightLine, direct: Mask) -> float:
    """Compute what a bounce off the ground is longer by than the line it seems to be [m].

    Its directions are off by the angles that the heights above the ground make, both downwards, and
    half their product is its excess over the distance.
    """
    use = direct & line.ends[0].zenith_known & line.ends[1].zenith_known
    if not use.any():
        return 0.0
    below = [end.zenith - end.expected_zenith for end in line.ends]
    return float(np.median((0.5 * line.distance * below[0] * below[1])[use]))


def middle_and_scatter(values: np.ndarray) -> tuple[float, float]:
    """Measure the median, and the deviation from it by the median too."""
    middle = float(np.median(values))
    return middle, 1.48 * float(np.median(np.abs(values - middle)))


def surely(scatter: float, count: int) -> float:
    """Bound what a median of so many values may be though none is shared; few scatter less.

    Five standard errors of the median, where bounces among the direct paths cannot shift it more.
    """
    if count < _MANY:
        return (1.0 + 24.0 / count) * scatter
    return max(5 * 1.25 / math.sqrt(count), 0.5) * scatter


def check_first_lengths(line: StraightLine) -> list[Finding]:
    """Compare each report's shortest path with the distance, where no path is known as direct."""
    first = np.where(line.valid, line.length, np.inf).min(axis=1)
    ratio = first / line.distance[:, 0]
    if np.quantile(ratio, 0.1) > (10 if len(ratio) >= _SEVERAL else 100):
        return [_scale(
            line, len(ratio), float(np.median(ratio)),
            "check the units: positions in metres, not kilometres, and delays in seconds",
        )]  # fmt: skip
    return _too_short(line)


def _scale(line: StraightLine, count: int, ratio: float, cure: str) -> Finding:
    return Finding(
        Cause.LENGTH_UNIT,
        f"the first paths of {count} reports are {ratio:.4g} times as long as the straight line: "
        f"{cure}",
        line.station,
        f"{cure}",
    )


def check_relative(line: StraightLine) -> list[Finding]:
    """Recognise delays that count from the first path, or from the straight line."""
    first = np.where(line.valid, line.length, np.inf).min(axis=1)
    error = line.length_error.max(axis=1)
    early = first < 0.5 * line.distance[:, 0] - 3 * error
    at_zero = early & (first < 0.01 * line.distance[:, 0] + error)
    if early.mean() <= 0.5 and at_zero.mean() <= _SHARE_AT_ZERO:
        return []
    ratio = (first / line.distance[:, 0])[early]
    small = float(np.median(ratio))
    if small > 1e-6 and np.median(np.abs(ratio / small - 1)) < _SCALE_ERROR:
        for scale, cure in _SCALES.items():
            if abs(small / scale - 1) < _SCALE_ERROR:
                return [_scale(line, int(early.sum()), small, cure)]
    return [Finding(
        Cause.RELATIVE_DELAY,
        f"the first paths of {int(early.sum())} of {len(early)} reports are far shorter than the "
        "straight line, as if delays were relative: starting at zero for every user, or in excess "
        "of the line of sight; absolute delays are needed (Sionna: normalize_delays=False; delays "
        "beyond the line of sight: add distance / c)",
        line.station,
        "relative",
    )]  # fmt: skip


def _too_short(line: StraightLine) -> list[Finding]:
    """Count paths that are shorter than the straight line, beyond the stated errors."""
    # Only errors make a path shorter than the line, so those that are show how large errors are.
    short = line.excess[line.first & (line.excess < 0) & (line.excess > -0.2 * line.distance)]
    error = 1.48 * float(np.median(-short)) if len(short) >= 3 else 0.0
    least = np.minimum(1.0, 0.2 * line.distance)
    tolerance = np.maximum(least, 0.02 * line.distance) + 3 * line.length_error
    tolerance = np.maximum(tolerance, np.minimum(4 * error, 0.2 * line.distance))
    early = line.valid & (line.excess < -tolerance)
    if not early.any():
        return []
    reports = early.any(axis=1)
    return [Finding(
        Cause.SHORT,
        f"{int(early.sum())} paths of {reports.mean():.1%} of the reports (first: report "
        f"{int(line.report[np.argmax(reports)])}) are shorter than the straight line from the "
        "station, beyond the stated errors: check delays and positions, and state delay_std",
        line.station,
    )]  # fmt: skip


def check_powers(line: StraightLine, direct: Mask) -> list[Finding]:
    """See whether powers of direct paths fall with the square of the distance."""
    power = np.where(direct, line.power, 0.0).max(axis=1)
    have = power > 0
    if (np.where(line.valid, line.power, 0.0) > 1).any():
        return [Finding(
            Cause.POWER_ABOVE_ONE,
            f"{int((line.valid & (line.power > 1)).sum())} powers are above one, so that more "
            "would be received than was sent: gains are linear, not decibels, losses or dBm",
            line.station,
            "above one",
        )]  # fmt: skip
    if np.where(line.valid, line.power, 0.0).max() == 1 and np.ptp(line.power[line.valid]) > 0:
        return [Finding(
            Cause.TOO_STRONG,
            "the strongest power is exactly one, as if all were divided by it: a gain is received "
            "over transmitted power, not relative to the strongest path",
            line.station,
            "strong",
        )]  # fmt: skip
    strength, length = np.log10(power[have]), np.log10(line.distance[have, 0])
    strong = strength - 2 * np.log10(_STRONGEST / line.distance[have, 0])
    if len(strong) and np.median(strong) > 0:
        return [Finding(
            Cause.TOO_STRONG,
            f"the powers of {len(strong)} direct paths are {10 * np.median(strong):.0f} dB above "
            "what antennas of 20 dB receive at 100 MHz in free space: a gain is received over "
            "transmitted power, not relative to the strongest path and not in dBm",
            line.station,
            "strong",
        )]  # fmt: skip
    if len(strength) < 2 or np.ptp(length) < 0.1:
        return []
    design = np.stack([length, np.ones_like(length)], axis=1)
    (slope, level), *_ = np.linalg.lstsq(design, strength, rcond=None)
    residual = strength - design @ np.array([slope, level])
    error = np.sqrt((residual**2).sum() / max(1, len(strength) - 2))
    error /= max(np.std(length) * math.sqrt(len(length)), 1e-12)
    sure = 0.003 if len(strength) < 4 else 0.15  # few are exact or nothing
    plain = abs(slope + 1) <= sure and error <= sure
    loud = len(strength) >= 4 and np.median(strong) > 2 * math.log10(_LOUD / _STRONGEST)
    near = abs(slope + 1) <= min(0.4, 3.5 * error) and abs(slope + 2) >= 2.5 * error
    if not plain and not (loud and near and error <= 0.35):
        return []
    return [Finding(
        Cause.AMPLITUDE,
        f"the powers of {len(strength)} direct paths fall as distance to the power {slope:.2f}, "
        "not -2, as amplitudes do: square them",
        line.station,
        "amplitude",
    )]  # fmt: skip


def check_doubles(reports: Reports) -> list[Finding]:
    """Find paths that one report lists several times."""
    paths = reports.estimates
    valid = np.asarray(paths.valid)
    if valid.shape[1] < 2:
        return []
    length = np.where(valid, np.asarray(paths.length, dtype=np.float64), np.inf)
    angles = [
        np.where(np.isfinite(np.asarray(getattr(paths, f"{name}_std"))), np.asarray(values), 0.0)
        for name in ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")
        for values in (getattr(paths, name),)
    ]
    order = np.lexsort((*angles[::-1], length), axis=1)

    def sorted_by(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, order, axis=1)

    both = sorted_by(valid)[:, 1:] & sorted_by(valid)[:, :-1]
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.diff(sorted_by(length), axis=1))
    for values in angles:
        difference = np.maximum(difference, np.abs(wrap_angle(np.diff(sorted_by(values), axis=1))))
    same, close = both & (difference <= _SAME), both & (difference <= _CLOSE)
    total = int(valid.sum())
    if same.sum() <= _SHARE_SAME * total:
        if close.sum() <= _SHARE_CLOSE * total:
            return []
        same = close
    rows = same.any(axis=1)
    return [Finding(
        Cause.DOUBLED,
        f"{int(same.sum())} paths of {int(rows.sum())} reports (first: report "
        f"{int(reports.report[np.argmax(rows)])}) repeat another path of the same report in delay "
        "and directions: keep one of each, with the powers of polarisations added",
    )]  # fmt: skip


def geographic_order(line: StraightLine) -> Finding | None:
    """Recognise latitude and longitude in x and y: degrees, far smaller than the paths are long."""
    places = np.concatenate([line.position, line.station_position[None]])[:, :2]
    extent = np.ptp(places, axis=0)
    if extent.max() > 2 or not extent.max() > 0 or np.abs(places).max() > 180:
        return None
    first = np.where(line.valid, line.length, np.inf).min(axis=1)
    flat = np.hypot(*(line.position - line.station_position)[:, :2].T)
    rise = (line.position - line.station_position)[:, 2]
    if np.median(first) < 20 * max(float(np.median(flat)), 1e-12):
        return None
    best = 0.0
    for latitude in (0, 1):
        scale = np.empty(2)
        scale[latitude] = 1.0
        scale[1 - latitude] = math.cos(math.radians(float(places[:, latitude].mean())))
        step = (line.position - line.station_position)[:, :2] * scale * math.radians(6_371_000.0)
        distance = np.sqrt((step**2).sum(axis=1) + rise**2)
        # the Earth's flattening and the mean radius leave up to a percent
        fits = (np.abs(line.length / distance[:, None] - 1) < 0.012).any(axis=1)
        best = max(best, float(fits.mean()))
    kilometres = float((np.abs(line.length / line.distance / 1000 - 1) < 0.02).any(axis=1).mean())
    if best < 0.1 or kilometres > best:
        return None
    return Finding(
        Cause.GEOGRAPHIC,
        "the positions are latitude and longitude in degrees, not metres: project them, for "
        "instance on UTM, or import a table with columns named latitude and longitude",
        line.station,
        "geographic",
    )
