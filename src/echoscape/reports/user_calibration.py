"""Users who do not know their clock or their heading: found from one to the next, outwards.

A user in sight of the station is recognised by its first path, which leaves towards it, and tells
its own bias.  From a user whose bias is known every path leads to a fixed image of the station;
seen from a user nearby, that image predicts length and arrival of the same path, and the
difference is a vote on that user's bias.  Votes of paths from at least two directions must agree
(a path and its ground reflection are one), and no other value may have a third as many.  A clock
must leave no path shorter than the straight line, and heights that agree: upright walls keep them.

Takes `Reports` of one station.
Gives a `UserBias`.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from echoscape.checks import InputError
from echoscape.reports.report import Reports
from echoscape.units import delay_of, wrap_angle

USER_UNKNOWNS = ("user-clock", "user-heading")
"""What users may not know of themselves."""
_GATE = 3.5  # standard deviations
_REACH = 30.0  # distance over which a path is recognised again [m]
_NEIGHBOURS = 16  # nearest known users that vote
_ANGLE_FLOOR, _LENGTH_FLOOR = 2e-3, 0.05  # errors of exact reports: rounding, model [rad, m]
_NEAR_LINE = 0.1  # first paths so near the straight line show how large angle errors are [rad]
_RUNNER_UP = 1 / 3  # votes of another value over those of the best, at most
_ABOVE_GROUND = 1.5  # height of users, for paths by way of the ground [m]
_HEIGHTS_AGREE = 1.7  # median deviation of zeniths from what heights ask for
_DIRECTIONS = 2  # that must agree
_ROUNDS, _REFINED = 30, 2
_POWER_WINDOW = 4.0  # power times squared distance of direct paths, over its median [1]


@dataclasses.dataclass(frozen=True)
class UserBias:
    """Each user's own clock and heading, one entry a report; NaN where nothing tells."""

    clock: Float[np.ndarray, " report"]
    """Length that all its paths are too long by; zero where known [m]."""
    clock_std: Float[np.ndarray, " report"]
    """Its standard deviation [m]."""
    heading: Float[np.ndarray, " report"]
    """Angle that all its arrival azimuths are turned by; zero where known [rad]."""
    heading_std: Float[np.ndarray, " report"]
    """Its standard deviation [rad]."""
    direct: int
    """How many users were recognised by a direct path."""

    def stated(self, number: np.ndarray) -> dict[str, list | int]:
        """State it in seconds and radians by report; null where nothing tells.

        Args:
            number: Numbers of the reports.
        """
        unit = {"clock": delay_of(1.0), "heading": 1.0}
        columns: dict[str, list | int] = {"report": [int(n) for n in number]}
        for name in ("clock", "clock_std", "heading", "heading_std"):
            values = getattr(self, name) * unit[name.removesuffix("_std")]
            columns[name] = [float(v) if np.isfinite(v) else None for v in values]
        return columns | {"direct_paths": self.direct}


def remove_user_bias(reports: Reports, bias: UserBias) -> Reports:
    """Take users' biases off; users without a clock are left out, arrivals without a heading too.

    Args:
        reports: Reports of one station.
        bias: Of each.
    """
    kept = np.isfinite(bias.clock)
    paths, turned = reports.estimates, np.isfinite(bias.heading)[:, None]
    arrival_std = np.hypot(paths.arrival_azimuth_std, np.nan_to_num(bias.heading_std)[:, None])
    heading, clock = (np.nan_to_num(v)[:, None] for v in (bias.heading, bias.clock))
    length = np.maximum(paths.length - clock, 0.0)
    length_std = np.hypot(paths.length_std, np.nan_to_num(bias.clock_std)[:, None])
    valid = np.asarray(paths.valid)
    estimates = dataclasses.replace(
        paths,
        length=np.where(valid, length, paths.length),
        length_std=np.where(valid, length_std, paths.length_std),
        arrival_azimuth=np.where(turned, wrap_angle(paths.arrival_azimuth - heading), 0.0),
        arrival_azimuth_std=np.where(valid & ~turned, np.inf, arrival_std),
    )
    return dataclasses.replace(reports, estimates=estimates)[kept]


def estimate_user_bias(reports: Reports, unknown: tuple[str, ...]) -> UserBias:
    """Estimate each user's clock or heading.

    Args:
        reports: Reports of one station.
        unknown: Which of `USER_UNKNOWNS`.

    Raises:
        InputError: Nothing in the reports tells what is unknown.
    """
    search = _Search(reports, "user-clock" in unknown, "user-heading" in unknown)
    search.start()
    if not search.known.any():
        station = reports.station[0]
        raise InputError(
            f"{' and '.join(unknown)} at station {station!r} cannot be estimated: the first path "
            "of no user leaves along the straight line to it, as from users in sight of the "
            "station, and biases are carried from those; add reports in its sight"
        )
    direct = int(search.known.sum())
    search.spread_out()
    return search.result(direct)


class _Search:
    """Users, and what is known of them so far."""

    def __init__(self, reports: Reports, clock: bool, heading: bool):
        paths = reports.estimates
        self.free = np.array([clock, heading])
        self.valid = np.asarray(paths.valid)
        self.place = np.asarray(reports.position, float)
        self.away = self.place - reports.station_position[0]
        self.place_std = np.asarray(reports.position_std, float)
        self.length, self.azimuth = np.asarray(paths.length), np.asarray(paths.departure_azimuth)
        level = np.isfinite(paths.departure_zenith_std)
        self.zenith = np.where(level, paths.departure_zenith, 0.5 * np.pi)
        self.level = level
        self.arrival = np.asarray(paths.arrival_azimuth)
        self.arrives = self.valid & np.isfinite(paths.arrival_azimuth_std)
        if heading and not self.arrives.any():
            raise InputError(
                "user-heading cannot be estimated: it follows from arrival azimuths at the users, "
                "and these reports have none"
            )
        self.power = np.asarray(paths.power)
        self.length_std = np.maximum(paths.length_std, _LENGTH_FLOOR)
        stated = np.asarray(paths.departure_azimuth_std)
        self.angle_std = np.maximum(np.where(np.isfinite(stated), stated, 1.0), _ANGLE_FLOOR)
        self.bias = np.where(self.free, np.nan, 0.0) * np.ones((len(self.place), 1))
        self.variance = np.zeros((len(self.place), 2))
        self.directly = np.zeros(len(self.place), bool)
        self.tree = KDTree(self.place)

    @property
    def known(self) -> Bool[np.ndarray, " report"]:
        return np.asarray(np.isfinite(self.bias).all(axis=1))

    def start(self) -> None:
        """Recognise users in sight: the shortest path leaves towards them and comes from there."""
        rows = np.flatnonzero(self.valid.any(axis=1))
        first = np.where(self.valid, self.length, np.inf)[rows].argmin(axis=1)
        take = (rows, first)
        away = self.away[rows]
        flat = np.hypot(away[:, 0], away[:, 1])
        distance = np.linalg.norm(away, axis=1)
        bearing = np.arctan2(away[:, 1], away[:, 0])
        turn = wrap_angle(self.azimuth[take] - bearing)
        rise = np.where(self.level[take], self.zenith[take] - np.arctan2(flat, away[:, 2]), 0.0)
        came = wrap_angle(self.arrival[take] - bearing - np.pi)
        late = self.length[take] - distance
        arrives = self.arrives[take] & ~self.free[1]
        near = (np.abs(turn) < _NEAR_LINE) & (np.abs(rise) < _NEAR_LINE)
        near &= ~arrives | (np.abs(came) < _NEAR_LINE)
        if not self.free[0]:
            near &= np.abs(late) < np.maximum(0.02 * distance, 4 * self.length_std[take])
        if near.sum() > 4:  # errors may be stated too small, or not at all
            seen = 1.48 * np.median(np.abs(turn[near]))
            self.angle_std = np.maximum(self.angle_std, min(seen, 0.3 * _NEAR_LINE))
        std = np.hypot(self.angle_std[take], self.place_std[rows] / np.maximum(flat, 1.0))
        straight = (np.abs(turn) < _GATE * std) & (np.abs(rise) < _GATE * std)
        straight &= ~arrives | (np.abs(came) < _GATE * std)
        if not self.free[0]:
            error = np.hypot(self.length_std[take], self.place_std[rows])
            straight &= np.abs(late) < _GATE * error + 0.01 * distance * (self.free[1])
        level = self.power[take] * distance**2
        if (straight & (level > 0)).sum() > 4:
            ratio = level / np.median(level[straight & (level > 0)])
            straight &= (level <= 0) | ((ratio > 1 / _POWER_WINDOW) & (ratio < _POWER_WINDOW))
        if self.free[1]:
            straight &= self.arrives[take]
        r = rows[straight]
        found = np.stack([late, came], axis=1)[straight]
        error = np.stack([self.length_std[take], std], axis=1)[straight]
        self.directly[r] = True
        self.bias[r] = np.where(self.free, _wrap(found), 0.0)
        self.variance[r] = np.where(self.free, error**2, 0.0)
        self._verify()

    def _verify(self) -> None:
        """Keep those that another of them confirms, where arrivals allow to ask."""
        if not self.arrives.any():
            return
        seeds, wrong = np.flatnonzero(self.known), []
        for row in seeds:
            found = self._ask(row)
            window = self._window(row)
            if found is None or np.any(np.abs(_wrap(found[0] - self.bias[row])) > window):
                wrong.append(row)
        wrong = np.array(wrong, int)
        self.bias[wrong] = np.where(self.free, np.nan, 0.0)
        self.directly[wrong] = False

    def spread_out(self) -> None:
        """Carry biases from known users to others, then ask every user again."""
        if not self.arrives.any():
            return
        fresh = self.known.copy()
        for _ in range(_ROUNDS):
            asked = self._beside(fresh) & ~self.known
            answers = {row: self._ask(row) for row in np.flatnonzero(asked)}
            fresh = np.zeros_like(fresh)
            for row, found in answers.items():
                if found is not None:
                    self.bias[row], self.variance[row], fresh[row] = *found, True
            if not fresh.any():
                break
        for _ in range(_REFINED):
            answers = {row: self._ask(row) for row in np.flatnonzero(self.known)}
            for row, found in answers.items():
                self._take_over(row, found)

    def _take_over(self, row, found) -> None:
        """Replace a bias by what the neighbours say now, and the direct path beside them."""
        if found is None or np.any(np.abs(_wrap(found[0] - self.bias[row])) > self._window(row)):
            return
        if not self.directly[row]:
            self.bias[row], self.variance[row] = found

    def _beside(self, fresh) -> Bool[np.ndarray, " report"]:
        """Mark the users with one of some within reach."""
        if not fresh.any():
            return fresh
        return KDTree(self.place[fresh]).query(self.place)[0] < _REACH

    def _window(self, row) -> Float[np.ndarray, "2"]:
        """Give how far two votes on a user may differ [m, rad]."""
        some = self.valid[row]
        error = self.length_std[row][some].mean(), self.angle_std[row][some].mean()
        return _GATE * np.hypot(np.array(error) * np.sqrt(2.0), np.sqrt(self.variance[row]))

    def _ask(self, row):
        """Let the known neighbours of a user vote; None where they do not agree."""
        near = np.array(self.tree.query_ball_point(self.place[row], _REACH), int)
        near = near[self.known[near] & (near != row)]
        near = near[np.argsort(np.linalg.norm(self.place[near] - self.place[row], axis=1))]
        near = near[:_NEIGHBOURS]
        if not len(near) or not self.arrives[row].any():
            return None
        path, vote, variance = self._votes(row, near)
        if self.free[0] and len(path):
            possible = self._possible(row, vote[:, 0])
            path, vote, variance = path[possible], vote[possible], variance[possible]
        if len(path) < _DIRECTIONS:
            return None
        gap = np.abs(_wrap(vote[:, None] - vote[None]))
        agree = np.all(gap < 2.0 * np.sqrt(variance[:, None] + variance[None]), axis=2)
        group = self._directions(row)
        member = np.zeros((len(path), group.max() + 1))
        member[np.arange(len(path)), group[path]] = 1.0
        directions = (agree @ member > 0).sum(axis=1)
        support = agree.sum(axis=1)
        best = np.lexsort((support, directions))[-1]
        if directions[best] < _DIRECTIONS:
            return None
        other = ~np.any(agree & agree[best], axis=1)
        rival = support[other].max(initial=0) >= _RUNNER_UP * support[best]
        if rival and directions[other].max(initial=0) >= directions[best] * _RUNNER_UP:
            return None
        return self._average(row, path, vote, variance, agree[best], vote[best])

    def _possible(self, row, clock) -> Bool[np.ndarray, " vote"]:
        """Tell clocks that the straight line and the heights of a user's paths allow."""
        some = self.valid[row]
        length = self.length[row, some][None] - clock[:, None]
        error = np.hypot(self.length_std[row, some], self.place_std[row])
        line = np.linalg.norm(self.away[row])
        long_enough = np.all(length > line - 2 * _GATE * error, axis=1)
        level = some & self.level[row]
        if not level.any():
            return long_enough
        length = np.maximum(self.length[row, level][None] - clock[:, None], 0.5 * line)
        low, high = self.away[row, 2], self.away[row, 2] - 2 * _ABOVE_GROUND
        off = [
            self.zenith[row, level] - np.arccos(np.clip(rise / length, -1, 1))
            for rise in (low, high)
        ]
        off = np.min(np.abs(off), axis=0) / self.angle_std[row, level]
        return long_enough & (np.median(off, axis=1) < _HEIGHTS_AGREE)

    def _average(self, row, path, vote, variance, agree, best):
        """Average votes: those of one path share its error, those of others do not."""
        value, weight = np.zeros(2), np.zeros(2)
        for q in np.unique(path[agree]):
            mine = agree & (path == q)
            own = np.array([self.length_std[row, q], self.angle_std[row, q]]) ** 2
            rest = np.maximum(variance[mine] - own, 0.1 * own).mean(axis=0) / mine.sum()
            w = 1.0 / (own + rest)
            value += w * np.mean(_wrap(vote[mine] - best), axis=0)
            weight += w
        found = np.where(self.free, _wrap(best + value / weight), 0.0)
        return found, np.where(self.free, 1.0 / weight, 0.0)

    def _directions(self, row) -> np.ndarray:
        """Sort the paths of a user by the direction they come from, and number the directions."""
        order = np.argsort(self.arrival[row], kind="stable")
        step = np.diff(self.arrival[row][order]) > 2 * _GATE * self.angle_std[row][order][1:]
        group = np.empty(len(order), int)
        group[order] = np.concatenate([[0], np.cumsum(step)])
        last = group.max()
        if last and self.arrival[row].min() + 2 * np.pi - self.arrival[row].max() < 0.05:
            group[group == last] = 0
        return group

    def _votes(self, row, near):
        """Compare the user's paths with those of neighbours, carried to it."""
        have = self.arrives[near]
        owner, p = np.nonzero(have)
        i = near[owner]
        length = self.length[i, p] - self.bias[i, 0]
        arrival = self.arrival[i, p] - self.bias[i, 1]
        rise, level = length * np.cos(self.zenith[i, p]), length * np.sin(self.zenith[i, p])
        height = self.away[i, 2]  # that of the user, or of its mirror below the ground
        below = np.abs(rise - height) > np.abs(rise - height + 2 * _ABOVE_GROUND)
        rise = rise + np.where(below, -1.0, 1.0) * (self.place[row, 2] - self.place[i, 2])
        image = self.place[i, :2] + level[:, None] * np.stack([np.cos(arrival), np.sin(arrival)], 1)
        ray = image - self.place[row, :2]
        flat = np.linalg.norm(ray, axis=1)
        away = np.hypot(flat, rise)
        coming = np.arctan2(ray[:, 1], ray[:, 0])
        turn = wrap_angle(coming - arrival)
        step = np.linalg.norm(self.place[i, :2] - self.place[row, :2], axis=1)
        q = np.flatnonzero(self.arrives[row])
        angle = np.hypot(self.angle_std[i, p][:, None], self.angle_std[row, q][None])
        moved = np.hypot(self.place_std[i], self.place_std[row])
        angle = np.hypot(angle, (moved / np.maximum(flat, 1.0))[:, None])
        # Turned as a rotation, as a reflection, or not at all, as from a scatterer.
        out = wrap_angle(self.azimuth[row, q][None] - self.azimuth[i, p][:, None])
        out = np.min([np.abs(wrap_angle(out - s * turn[:, None])) for s in (1, -1, 0)], axis=0)
        up = np.abs(self.zenith[row, q][None] - np.arctan2(flat, rise)[:, None])
        known = self.level[row, q][None] & self.level[i, p][:, None]
        match = (out < _GATE * angle) & (~known | (up < _GATE * angle))
        late = self.length[row, q][None] - away[:, None]
        came = wrap_angle(self.arrival[row, q][None] - coming[:, None])
        error = self.length_std[i, p] ** 2 + self.variance[i, 0]
        error = error + (step * self.angle_std[i, p]) ** 2 + moved**2
        error = error[:, None] + self.length_std[row, q][None] ** 2
        turned = angle**2 + self.variance[i, 1][:, None]
        if not self.free[0]:
            match &= np.abs(late) < _GATE * np.sqrt(error)
        if not self.free[1]:
            match &= np.abs(came) < _GATE * np.sqrt(turned)
        column = np.nonzero(match)[1]
        vote = np.stack([late[match], came[match]], axis=1) * self.free
        variance = np.stack([error[match], turned[match]], axis=1)
        return q[column], vote, variance

    def result(self, direct: int) -> UserBias:
        """State what is known."""
        std = np.where(np.isfinite(self.bias), np.sqrt(self.variance), np.nan)
        return UserBias(self.bias[:, 0], std[:, 0], self.bias[:, 1], std[:, 1], direct)


def _wrap(difference: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
    """Take headings, the second column, to (-pi, pi]."""
    return np.stack([difference[..., 0], wrap_angle(difference[..., 1])], axis=-1)
