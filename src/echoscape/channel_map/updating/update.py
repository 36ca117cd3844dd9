"""Add a batch of reports to a map: points, pool, visibility and changes, without a new fit.

Paths of the batch go to the points that they belong to, whose sums grow; the others go to the
pool, in which three or more that agree make a new point.  Points that reports should have held
and did not vanish.  Visibility is predicted again where the neighbouring reports changed, by the
law that the fit learnt.

Takes a `VirtualAnchorMap`, and `Reports` that came later.
Gives the next map, and `MapChanges`.
"""

import dataclasses

import numpy as np

from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.station_reports import canonical_order, reports_of_station
from echoscape.channel_map.updating.association import KnownPoints, associate
from echoscape.channel_map.updating.changes import (
    MapChanges,
    alarm_threshold,
    expected_hearings,
    silence_before,
    silences,
)
from echoscape.channel_map.updating.growing import GrownPoints, fitted_points
from echoscape.channel_map.updating.state import MapState, digests, select_paths
from echoscape.channel_map.updating.station_moved import station_change
from echoscape.channel_map.updating.visibility import sources, with_visibility
from echoscape.channel_map.virtual_anchors.error_scale import ErrorScale
from echoscape.channel_map.virtual_anchors.height_visibility import learn_heights
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.virtual_anchors.relocation import RELOCATED, relocate, wrong_reports
from echoscape.channel_map.virtual_anchors.table import (
    LEAST_RANK,
    join_rows,
    row_of_statistics,
    rows_of_pool,
)
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths, unfold
from echoscape.channel_map.visibility import NOT_REPORTED
from echoscape.checks import InputError
from echoscape.reports import Reports
from echoscape.scene import translate

_SAME_PLACE = 0.01  # of a station [m]


def update_map(
    channel_map: ChannelMap,
    reports: Reports,
    *,
    false_alarm: float = 0.01,
    per_reports: int = 1500,
) -> tuple[VirtualAnchorMap, MapChanges]:
    """Add a batch of reports to a map.

    The order of batches hardly matters.  A batch that holds a report which the map has seen is
    refused, so nothing counts twice.

    Args:
        channel_map: A map of virtual anchors, as fitted or updated.
        reports: Reports of its station, none older than the last that it has seen.
        false_alarm: Probability that a point which is there is said to have vanished ...
        per_reports: ... within so many reports.

    Raises:
        InputError: The map keeps no state; the reports are of another station or of one that has
            moved, older than the map's last, or seen before.
    """
    old, state, batch, seen = _accept(channel_map, reports)
    known = _known(old)
    place = np.asarray(batch.position - old.station_position, float)
    listed = _listed(old, place)
    paths, found = _explain(old, known, batch, place, listed)
    wrong = wrong_reports(paths, found < 0, len(place))
    if wrong.any():
        kept = ~wrong[paths.report]
        paths, found = select_paths(paths, kept), found[kept]
        number = np.cumsum(~wrong) - 1
        paths = paths._replace(report=number[paths.report])
        batch, listed = batch[~wrong], listed[~wrong]
        place = place[~wrong]
    place[paths.report] = paths.place
    first = len(state.place)
    paths = paths._replace(report=paths.report + first)

    silence, missed, threshold = _listen(old, state, place, paths, found, false_alarm, per_reports)
    grown = GrownPoints.of(known, state, paths, found)
    gone = silence >= threshold
    lost = _changes_of(old, gone, silence, missed, threshold)
    grown.drop(gone[: len(state.statistics)])
    grown.drop_from_pool(_only_of(state, gone))
    grown.bear(state.min_paths, len(state.place))
    every = np.concatenate([state.place, place])
    time = np.concatenate([state.time, np.asarray(batch.time, float)])
    new, origin = _rebuild(old, state, grown, every, time, silence, missed, seen, batch)
    born, new = _births(new, grown, false_alarm)
    new = with_visibility(old, new, origin)
    kind, *columns = (
        lost[0] + born[0], *(np.concatenate([a, b]) for a, b in zip(lost[1:], born[1:]))
    )  # fmt: skip
    return new, MapChanges(
        old.station, tuple(kind), *columns, time=float(time.max()), added=len(batch),
        left_out=int(wrong.sum()), explained=float(np.mean(found >= 0)) if len(found) else 1.0,
        confirmed=len(grown.points), unexplained=len(grown.pool.report),
    )  # fmt: skip


def _accept(channel_map: ChannelMap, reports: Reports):
    """Refuse what cannot be added; give the map, its state, the batch in its order, its digests."""
    if not isinstance(channel_map, VirtualAnchorMap):
        raise InputError(
            "a map of virtual anchors (map fit --model virtual-anchors) can be updated; the map of "
            f"{channel_map.station!r} is a {type(channel_map).__name__}: fit it again"
        )
    state = channel_map.state
    name = channel_map.station
    if state is None:
        raise InputError(
            f"the map of {name!r} keeps no state to update, as maps of earlier versions do not; "
            "fit it again from its reports (map fit)"
        )
    if name not in reports.station:
        known = ", ".join(reports.station)
        raise InputError(f"the map is of station {name!r}; these reports are of {known}")
    batch = canonical_order(reports_of_station(reports, name))
    batch = batch[np.argsort(batch.time, kind="stable")]
    away = float(np.linalg.norm(batch.station_position[0] - channel_map.station_position))
    if away > _SAME_PLACE:
        raise InputError(
            f"station {name!r} has moved: these reports place it {away:.2f} m from where the map "
            "has it; fit a new map to the reports since then"
        )
    seen = digests(batch)
    repeated = int(np.isin(seen, state.digest).sum()) + len(seen) - len(np.unique(seen))
    if repeated:
        raise InputError(
            f"{repeated} of these {len(seen)} reports are in the map of {name!r} already, or "
            "twice in the batch; add each report once"
        )
    if len(state.time) and batch.time.min() < state.time.max():
        raise InputError(
            f"these reports begin at {batch.time.min():.3f} s, before the last that the map of "
            f"{name!r} has seen ({state.time.max():.3f} s); add batches in the order of time, or "
            "fit again"
        )
    if state.error_scale is not None:
        batch = ErrorScale(*state.error_scale).widen(batch)
    return channel_map, state, batch, seen


def _known(channel_map: VirtualAnchorMap) -> KnownPoints:
    """Give the confirmed points, from the station."""
    assert channel_map.state is not None
    count = len(channel_map.state.statistics)
    station = np.asarray(channel_map.station_position, float)
    error = channel_map.error
    error = dataclasses.replace(
        error,
        **{
            field.name: np.asarray(getattr(error, field.name))[:count]
            for field in dataclasses.fields(error)
        },
    )
    error = dataclasses.replace(error, centre=error.centre - station[:2])
    return KnownPoints.of(translate(channel_map.points, station)[:count], error)


def _listed(channel_map: VirtualAnchorMap, place):
    """Give the probability that the raster states for every report and point."""
    cell = np.round((place[:, :2] - channel_map.corner) / channel_map.step).astype(int)
    shape = channel_map.slot.shape
    inside = np.all((cell >= 0) & (cell < shape[:2]), axis=1)
    east, north = np.clip(cell, 0, np.array(shape[:2]) - 1).T
    listed = np.zeros((len(place), len(channel_map.points)), np.float32)
    rows = np.repeat(np.flatnonzero(inside), shape[2])
    slot = np.asarray(channel_map.slot)[east, north][inside].ravel()
    np.maximum.at(
        listed, (rows, slot), np.asarray(channel_map.probability)[east, north][inside].ravel()
    )
    return listed


def _explain(old: VirtualAnchorMap, known: KnownPoints, batch: Reports, place, listed):
    """Find the point of each path; where users are not exact, from where the points place them."""
    assert old.state is not None
    state, count = old.state, len(old.state.statistics)
    pool = state.free_paths()
    rate = (len(pool.report) + 1.0) / (len(state.place) + 1.0)

    def explain(reports, place):
        paths = unfold(reports, place, pool.model_error)
        extent = float(np.prod(np.ptp(paths.point[:, :2], axis=0)) + 1.0)
        return paths, associate(paths, known, listed[:, :count], rate, extent)

    paths = unfold(batch, place, pool.model_error)
    change = station_change(paths, known, listed[:, :count])
    if change is not None:
        raise InputError(
            f"station {old.station!r} has moved or was set anew: {change[1]} of these {len(place)} "
            f"reports agree with the map only if {change[0]}; the reports make two clusters of "
            "calibration, so fit a new map to those since the change"
        )
    paths, found = explain(batch, place)
    if np.median(batch.position_std) > 0 and (found >= 0).any():
        better = dataclasses.replace(batch, position_std=RELOCATED * batch.position_std)
        points = fitted_points(known, found)
        paths, found = explain(better, relocate(batch, place, paths, points))
    return paths, found


def _listen(old, state: MapState, place, paths: UnfoldedPaths, found, false_alarm, per_reports):
    """Continue the silence of every point of the old map over the batch."""
    first = len(state.place)
    every = np.concatenate([state.place, place])[:, :2]
    hearing = paths.report[found >= 0], found[found >= 0]
    rank = np.full((len(every), len(old.points)), NOT_REPORTED, np.int8)
    rank[state.report, state.point] = state.rank
    rank[hearing] = np.minimum(paths.rank[found >= 0], LEAST_RANK)
    expected = expected_hearings(
        state.visibility_model(), every, rank, sources(old),
        first + np.arange(len(place)), first, state.neighbours, state.counted_from(),
    )  # fmt: skip
    silence, missed = silences(state.silence, state.missed, hearing, expected)
    return silence, missed, alarm_threshold(old.points.visibility, false_alarm, per_reports)


def _only_of(state: MapState, gone) -> np.ndarray:
    """Mark paths of the pool all of whose points are gone."""
    pool, count = state.free_paths(), len(state.statistics)
    free = state.point >= count
    key = lambda report, rank: report.astype(int) * 128 + np.minimum(rank, LEAST_RANK)  # noqa: E731
    held = key(state.report[free], state.rank[free])
    alive = np.isin(key(pool.report, pool.rank), held[~gone[state.point[free]]])
    return np.isin(key(pool.report, pool.rank), held) & ~alive


def _changes_of(old, gone, silence, missed, threshold):
    """List confirmed points that vanished."""
    assert old.state is not None
    lost = np.flatnonzero(gone[: len(old.state.statistics)])
    station = np.asarray(old.station_position, float)
    return (
        ["vanished"] * len(lost),
        sources(old)[lost] + station[:2],
        np.bincount(old.state.point, minlength=len(gone))[lost],
        missed[lost],
        silence[lost],
        threshold[lost],
    )


def _rebuild(old, state: MapState, grown: GrownPoints, place, time, silence, missed, seen, batch):
    """Make the next map but for its raster: rows of points and pool; tell where they are from."""
    pool, count = grown.pool, len(grown.points)
    order = np.argsort(grown.point, kind="stable")
    around = np.split(grown.report[order], np.searchsorted(grown.point[order], np.arange(1, count)))
    rows = [
        row_of_statistics(grown.statistics, k, point, pool.model_error)
        for k, point in enumerate(grown.points)
    ]
    more, listed = rows_of_pool(pool, np.arange(len(pool.report)), grown.points, around)
    member = np.concatenate([*listed, np.zeros(0, int)]).astype(int)
    report = np.concatenate([grown.report, pool.report[member]]).astype(np.int32)
    point = np.concatenate([
        grown.point, count + np.repeat(np.arange(len(listed)), [len(each) for each in listed])
    ]).astype(np.int32)  # fmt: skip
    rank = np.concatenate([grown.rank, np.minimum(pool.rank[member], LEAST_RANK)]).astype(np.int8)
    rows += more
    if not rows:
        raise InputError(
            f"no point of {old.station!r} is left after this batch; fit a new map to later reports"
        )
    confirmed = np.full(len(rows), -np.inf)
    np.maximum.at(confirmed, point, time[report])
    origin = _origins(state, grown, report, point, rank, len(rows))
    carried = origin >= 0
    since = np.where(carried, state.counted_from()[origin], 0)
    share = np.bincount(point, minlength=len(rows)) / (len(place) - since)
    points, error = join_rows(rows, old.station_position, share, confirmed)
    next_state = dataclasses.replace(
        state, statistics=grown.statistics, report=report, point=point, rank=rank, place=place,
        time=time, digest=np.concatenate([state.digest, seen]),
        silence=np.where(carried, silence[origin], 0.0),
        missed=np.where(carried, missed[origin], 0.0), pool=tuple(pool),
        since=since if since.any() else None,
    )  # fmt: skip
    position = np.concatenate([old.report_position, np.asarray(batch.position, float)])
    heights = old.heights
    if heights is not None:
        ranks = np.full((len(place), len(points)), NOT_REPORTED, np.int8)
        ranks[report, point] = rank
        heights = learn_heights(
            translate(points, np.asarray(old.station_position, float)), place, ranks,
            roof_height=float(heights.roof_height), reported_paths=state.reported_paths,
        )  # fmt: skip
    new = dataclasses.replace(
        old, points=points, error=error, report_position=position, state=next_state,
        heights=heights,
    )  # fmt: skip
    return new, origin


def _origins(state: MapState, grown: GrownPoints, report, point, rank, count):
    """Name each row's number in the old map; -1 for those that are new or hold other paths."""
    origin = np.full(count, -1)
    origin[: len(grown.points)] = grown.origin
    same = _by_paths(state.report, state.point, state.rank, len(state.statistics))
    rows = _by_paths(report, point, rank, len(grown.points))
    for key, numbers in rows.items():  # a pair of paths makes two rows, in their order
        for number, before in zip(numbers, same.get(key, [])):
            origin[number] = before
    return origin


def _by_paths(report, point, rank, first) -> dict[tuple, list[int]]:
    """Find rows of the pool by the paths that they are made of."""
    held: dict[int, list[tuple[int, int]]] = {}
    for p, r, k in zip(point.tolist(), report.tolist(), rank.tolist()):
        if p >= first:
            held.setdefault(p, []).append((r, k))
    rows: dict[tuple, list[int]] = {}
    for p in sorted(held):
        rows.setdefault(tuple(sorted(held[p])), []).append(p)
    return rows


def _births(new: VirtualAnchorMap, grown: GrownPoints, false_alarm):
    """List points that are new, and whether earlier reports should have held them.

    Returns:
        Columns of the changes, and the map, whose reports before a point appeared do not count.
    """
    assert new.state is not None
    state = new.state
    born = np.flatnonzero(grown.origin < 0)
    station = np.asarray(new.station_position, float)
    source, threshold = sources(new), np.log(max(len(born), 1) / false_alarm)
    holders = np.bincount(state.point, minlength=len(new.points))[born]
    column = np.full(len(new.points), -1)
    column[born] = np.arange(len(born))
    held = column[state.point] >= 0
    rank = np.full((len(state.place), len(born)), NOT_REPORTED, np.int8)
    rank[state.report[held], column[state.point[held]]] = state.rank[held]
    silence, missed, first = silence_before(
        state.visibility_model(), state.place[:, :2], rank, source[born], state.neighbours
    )
    appeared = silence >= threshold
    if appeared.any():
        since = state.counted_from().copy()
        since[born[appeared]] = first[appeared]
        share = np.asarray(new.points.visibility, float).copy()
        share[born[appeared]] = holders[appeared] / (len(state.place) - first[appeared])
        new = dataclasses.replace(
            new, points=dataclasses.replace(new.points, visibility=share),
            state=dataclasses.replace(state, since=since),
        )  # fmt: skip
    kind = ["appeared" if one else "found" for one in appeared]
    place = source[born] + station[:2]
    return (kind, place, holders, missed, silence, np.full(len(born), threshold)), new
