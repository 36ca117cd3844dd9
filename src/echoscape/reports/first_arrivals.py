"""The bias that direct paths share, when it is not known which first arrivals are direct.

First arrivals that run straight tell a station's clock and how its array is turned.  Each is
direct, obstructed (longer than the line, from anywhere) or an outlier; of all proposals that two
first arrivals make, that of the highest likelihood is refined by iterated least squares.  A clock
that makes paths shorter than the straight line has a low likelihood by itself.

Takes `StraightLine`.
Gives a `StationBias`, or none where no first arrivals agree.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool
from scipy.special import log_ndtr

from echoscape.reports.station_bias import StationBias, turn_matrix, unit_vector
from echoscape.reports.straight_line import StraightLine
from echoscape.units import wrap_angle

_LENGTH_FLOOR, _ANGLE_FLOOR = 0.02, 1e-3  # errors of computed paths, by rounding [m, rad]
_DETOURS = (3.0, 10.0, 30.0)  # mean detour of obstructed first arrivals, the likeliest [m]
_ANYWHERE = 2 * np.pi * 0.6  # directions that they come from [rad^2]
_BESIDE = 0.3  # half of them are within about this of the line [rad]
_DIRECT, _OUTLIER = 0.4, 0.02  # shares of first arrivals before any is seen
_TILTED = 0.35  # largest tilt proposed [rad]
_SCALES = (1.0, 3.0, 9.0)  # of the stated errors, tried
_PROPOSALS = 600
_TRIED = 8  # proposals of most votes that are compared by likelihood
_SETTLED = 1e-4  # squared deviations of a last step
_EVIDENCE = 12.0  # nats that direct paths must explain more than none does
_FEWEST = 2.0  # first arrivals that must agree with a proposal
SURE = 0.2  # share of direct first arrivals that are no chance, however large the errors
_EXACT = 2.0  # errors over stated ones up to which fewer are believed


def bias_of_direct_paths(
    line: StraightLine, free: Bool[np.ndarray, "4"], least_share: float = 0.0
) -> StationBias | None:
    """Find the direct paths among first arrivals, and the bias that they share.

    Args:
        line: Paths beside the straight line.
        free: Which of clock, yaw, pitch and roll are unknown.
        least_share: Share of the first arrivals below which they need not be looked for [1].

    Returns:
        The bias; None where no first arrivals agree.
    """
    first = _FirstArrivals.of(line)
    if len(first.excess) < 3:
        return None
    best, found = -np.inf, None
    proposals = first.propose(free)
    for scale in _SCALES:
        vote = first.votes(proposals, scale)
        if vote.max() < max(_FEWEST, 0.5 * least_share * len(first.excess)):
            continue
        chosen = proposals[np.argsort(-vote, kind="stable")[:_TRIED]]
        value = np.array([first.log_likelihood(p, scale).sum() for p in chosen])
        parameter = first.refine(chosen[int(np.argmax(value))], scale, free)[0]
        if (value := first.log_likelihood(parameter, scale).sum()) > best + 2.0:
            best, found = value, (parameter, scale)
    if found is None:
        return None
    parameter, scale = found
    angle = length = scale
    for _ in range(4):
        parameter, information, share = first.refine(parameter, (angle, length), free)
        angle, length = first.scales(parameter, share, (angle, length))
    count = float(share.sum())
    best = first.log_likelihood(parameter, (angle, length)).sum()
    least = max(3.0, 0.5 * free.sum() + 1.5)
    sure = count >= SURE * len(first.excess)
    if not sure and max(angle, length) > _EXACT:
        return None  # few that agree badly agree by chance
    if count < least or best < first.without_direct(parameter, free) + _EVIDENCE:
        return None
    covariance = np.zeros((4, 4))
    index = np.flatnonzero(free)
    covariance[np.ix_(index, index)] = np.linalg.inv(information)
    clock, yaw, pitch, roll = map(float, parameter)
    return StationBias(clock, yaw, pitch, roll, covariance, round(count), angle, length, sure)


@dataclasses.dataclass(frozen=True)
class _FirstArrivals:
    """The shortest path of every report, beside the straight line."""

    excess: np.ndarray  # [m]
    azimuth: np.ndarray  # [rad]
    zenith: np.ndarray  # [rad]; the line's own where not measured
    level: np.ndarray  # whether it was measured
    true: np.ndarray  # unit vectors along the line
    length_error: np.ndarray  # stated [m]
    angle_error: np.ndarray  # stated [rad]

    @classmethod
    def of(cls, line: StraightLine) -> "_FirstArrivals":
        end = line.ends[0]
        # The ground's reflection may be shorter by error: of paths that near the stronger.
        shortest = np.where(line.valid, line.length, np.inf).min(axis=1, keepdims=True)
        near = line.valid & (line.length <= shortest + 3 * line.length_error)
        power = np.where(near & (line.power > 0), line.power, 0.0)
        known = (near & (line.power > 0)).sum(axis=1) == near.sum(axis=1)
        column = np.where(known, power.argmax(axis=1), line.first.argmax(axis=1))
        take = (np.arange(len(column)), column)
        take = tuple(each[end.azimuth_known[take]] for each in take)
        expected = end.expected_zenith[take]
        level = end.zenith_known[take]
        return cls(
            excess=line.excess[take],
            azimuth=end.azimuth[take],
            zenith=np.where(level, end.zenith[take], expected),
            level=level,
            true=np.asarray(unit_vector(end.expected_azimuth[take], expected)),
            length_error=np.maximum(line.length_error[take], _LENGTH_FLOOR),
            angle_error=np.maximum(end.error[take], _ANGLE_FLOOR),
        )

    def propose(self, free) -> np.ndarray:
        """Propose the bias that two first arrivals agree on, for many pairs."""
        count, rng = len(self.excess), np.random.default_rng(0)
        i, j = np.triu_indices(count, 1)
        some = rng.permutation(len(i))[:_PROPOSALS]
        i, j = i[some], j[some]
        found = np.zeros((len(i), 4))
        if free[0]:
            found[:, 0] = 0.5 * (self.excess[i] + self.excess[j])
        if free[2]:
            seen = _frames(*(unit_vector(self.azimuth, self.zenith)[k] for k in (i, j)))
            turn = _frames(self.true[i], self.true[j]) @ np.swapaxes(seen, -1, -2)
            found[:, 1] = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
            found[:, 2] = -np.arcsin(np.clip(turn[:, 2, 0], -1, 1))
            found[:, 3] = np.arctan2(turn[:, 2, 1], turn[:, 2, 2])
            found = found[np.abs(found[:, 2:]).max(axis=1) < _TILTED]
        if free[1]:
            bearing = np.arctan2(self.true[:, 1], self.true[:, 0])
            alone = np.zeros((count, 4))
            alone[:, 0] = self.excess * free[0]
            alone[:, 1] = wrap_angle(bearing - self.azimuth)
            found = np.concatenate([found if free[2] else found[:0], alone])
        found = np.concatenate([found, np.zeros((1, 4))])
        return found

    def votes(self, proposals, scale):
        """Count the first arrivals that agree with each proposal, softly."""
        seen = np.einsum("ni,pij->pnj", self.true, turn_matrix(*proposals[:, 1:].T))
        polar = np.arccos(np.clip(seen[..., 2], -1, 1))
        aside = wrap_angle(self.azimuth - np.arctan2(seen[..., 1], seen[..., 0])) * np.sin(polar)
        rise = np.where(self.level, self.zenith - polar, 0.0)
        ahead = (self.excess - proposals[:, :1]) / self.length_error
        square = ahead**2 + (aside**2 + rise**2) / self.angle_error**2
        return np.maximum(1.0 - square / (9.0 * scale**2), 0.0).sum(axis=1)

    def residuals(self, parameter):
        """Give length, azimuth and zenith beyond what a direct path would have [m, rad, rad]."""
        seen = self.true @ turn_matrix(*parameter[1:])
        polar = np.arccos(np.clip(seen[:, 2], -1, 1))
        azimuth = wrap_angle(self.azimuth - np.arctan2(seen[:, 1], seen[:, 0])) * np.sin(polar)
        zenith = np.where(self.level, self.zenith - polar, 0.0)
        return self.excess - parameter[0], azimuth, zenith

    def _densities(self, parameter, scale):
        angle, length = np.broadcast_to(scale, 2)
        ahead, azimuth, zenith = self.residuals(parameter)
        sl, sa = length * self.length_error, angle * self.angle_error
        square = azimuth**2 + zenith**2
        # an azimuth alone: the zenith is anywhere in its range
        free = np.where(self.level, 2, 1)
        spread = lambda std: -0.5 * square / std**2 - free * np.log(std * np.sqrt(2 * np.pi))  # noqa: E731
        range_ = np.where(self.level, 0.0, np.log(0.6))
        along = -0.5 * (ahead / sl) ** 2 - np.log(sl * np.sqrt(2 * np.pi))
        direct = np.log(_DIRECT) + spread(sa) - range_ + along
        aside = np.logaddexp(-np.log(_ANYWHERE), spread(np.hypot(_BESIDE, sa)) - range_)
        detour = max(
            (self._obstructed(ahead, sl, mean) for mean in _DETOURS), key=lambda each: each.sum()
        )
        obstructed = np.log(0.5 * (1 - _DIRECT - _OUTLIER)) + detour + aside
        return direct, obstructed, np.log(_OUTLIER / 200.0 / _ANYWHERE)

    @staticmethod
    def _obstructed(ahead, error, mean):
        """Detours are exponential, and measured with an error."""
        log = log_ndtr((ahead - error**2 / mean) / error)
        return log - ahead / mean + 0.5 * (error / mean) ** 2 - np.log(mean)

    def log_likelihood(self, parameter, scale):
        direct, detour, outlier = self._densities(parameter, scale)
        return np.logaddexp(np.logaddexp(direct, detour), outlier)

    def without_direct(self, parameter, free) -> float:
        """Give the log-likelihood if none is direct, at the clock that suits best."""
        clocks = np.quantile(self.excess, np.linspace(0, 0.5, 26)) if free[0] else [0.0]
        best = -np.inf
        for clock in clocks:
            _, detour, outlier = self._densities(np.r_[clock, parameter[1:]], 1.0)
            best = max(best, float(np.logaddexp(detour, outlier).sum()))
        return best

    def refine(self, parameter, scale, free):
        """Iterate weighted least squares, each path weighed by its probability to be direct."""
        index = np.flatnonzero(free)
        angle, length = np.broadcast_to(scale, 2)
        information, share = np.eye(len(index)), np.zeros(len(self.excess))
        parameter = np.array(parameter, float)
        for _ in range(12):
            share = np.exp(
                self._densities(parameter, scale)[0] - self.log_likelihood(parameter, scale)
            )
            residual = np.stack(self.residuals(parameter))
            slope = np.zeros((len(index), *residual.shape))
            for row, k in enumerate(index):
                step = np.zeros(4)
                step[k] = 1e-5
                moved = np.stack(self.residuals(parameter + step))
                slope[row] = (moved - residual) / 1e-5
            sa = angle * self.angle_error
            weight = share / np.stack([length * self.length_error, sa, sa]) ** 2
            information = np.einsum("iap,ap,jap->ij", slope, weight, slope)
            gradient = np.einsum("iap,ap->i", slope, weight * residual)
            floor = 1e-9 * np.diag(np.maximum(np.diag(information), 1e-9))
            information = information + floor
            step = np.linalg.solve(information, gradient)
            parameter[index] -= step
            if step @ information @ step < _SETTLED:
                break
        return parameter, information, share

    def scales(self, parameter, share, scale):
        """Estimate how large errors are beside stated ones, from the direct paths."""
        if share.sum() < 8:
            return tuple(np.broadcast_to(scale, 2))
        ahead, azimuth, zenith = self.residuals(parameter)
        lengths = np.abs(ahead) / self.length_error
        angles = np.concatenate([np.abs(azimuth), np.abs(zenith)[self.level]])
        angles /= np.concatenate([self.angle_error, self.angle_error[self.level]])
        weight = np.concatenate([share, share[self.level]])
        return tuple(
            float(np.clip(_weighted_median(v, w) / 0.6745, 0.3, 12.0))
            for v, w in ((angles, weight), (lengths, share))
        )


def _frames(one, two):
    """Build right-handed frames of pairs of directions."""
    normal = np.cross(one, two)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    return np.stack([one, np.cross(normal, one), normal], -1)


def _weighted_median(values, weight):
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return values[order][np.searchsorted(total, 0.5 * total[-1])]
