"""The raster of a map after an update: predicted again only where neighbouring reports changed.

Takes the map before and after, with the old number of each point.
Gives the map with its raster.
"""

import dataclasses

import numpy as np
from scipy.spatial import KDTree

from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.visibility import NOT_REPORTED, predict_cells
from echoscape.scene import image_of_station

_SMOOTH = 3
"""Cells to the nearest report beyond which two by two are predicted as one, and beyond twice
that four by four."""


def sources(channel_map: VirtualAnchorMap) -> np.ndarray:
    """Place the virtual anchor or edge of every point, from the station in the plane [m]."""
    station = np.asarray(channel_map.station_position, float)
    return np.asarray(image_of_station(channel_map.points, station))[:, :2] - station[:2]


def with_visibility(old: VirtualAnchorMap, new: VirtualAnchorMap, origin) -> VirtualAnchorMap:
    """Predict visibility again in the cells whose neighbouring reports are new or hold others."""
    assert old.state is not None
    assert new.state is not None
    before, after = old.state, new.state
    place = after.place[:, :2]
    slot, probability, corner, stale = _extended(old, place, after.margin, origin, after.slots)
    number = np.full(len(old.points) + 1, -1)
    number[origin[origin >= 0]] = np.flatnonzero(origin >= 0)
    changed = np.ones(len(place), bool)
    changed[: len(before.place)] = False
    was = set(zip(before.report.tolist(), number[before.point].tolist()))
    now = set(zip(after.report.tolist(), after.point.tolist()))
    changed[np.array([r for r, _ in was ^ now if r < len(place)], int)] = True
    east, north, slots = slot.shape
    grid = np.stack(np.meshgrid(np.arange(east), np.arange(north), indexing="ij"), -1)
    cells = corner + old.step * grid.reshape(-1, 2)
    count = min(after.neighbours, len(place))
    near = np.reshape(KDTree(place).query(cells, k=count)[1], (len(cells), count))
    redo = stale.ravel() | changed[near].any(axis=1)
    nearest = np.linalg.norm(place[near[:, 0]] - cells, axis=1).reshape(east, north)
    asked, answer = _representatives(redo.reshape(east, north), nearest, old.step)
    slot, probability = slot.reshape(-1, slots), probability.reshape(-1, slots)
    used = np.unique(near[asked])
    rank = np.full((len(used), len(new.points)), NOT_REPORTED, np.int8)
    row = np.searchsorted(used, after.report)
    some = used[np.minimum(row, len(used) - 1)] == after.report if len(used) else row < 0
    rank[row[some], after.point[some]] = after.rank[some]
    if redo.any():
        listed, found = predict_cells(
            after.visibility_model(), cells[asked], np.searchsorted(used, near[asked]),
            place[used], rank, sources(new), slots,
            None if after.since is None else np.searchsorted(used, after.since),
        )  # fmt: skip
        slot[redo], probability[redo] = listed[answer], np.clip(found, 0.0, 0.98)[answer]
    shape = (east, north, slots)
    return dataclasses.replace(
        new, slot=slot.reshape(shape), probability=probability.reshape(shape), corner=corner
    )


def _representatives(redo, nearest, step: float):
    """Choose cells that stand for others: far from every report, visibility hardly varies.

    Returns:
        Cells to ask for, and for each cell of `redo` which of them stands for it.
    """
    east, north = np.nonzero(redo)
    for size, beyond in ((2, _SMOOTH), (4, 2 * _SMOOTH)):
        a, b = (size * (each // size) for each in (east, north))
        far = redo[a, b] & (nearest[a, b] / step > beyond)
        east, north = np.where(far, a, east), np.where(far, b, north)
    number = east * redo.shape[1] + north
    return np.unique(number, return_inverse=True)


def _extended(old: VirtualAnchorMap, place, margin, origin, slots):
    """Widen the raster to new reports, and renumber its points; tell which cells are empty yet."""
    step, corner = old.step, np.asarray(old.corner, float)
    east, north, width = old.slot.shape
    last = corner + step * (np.array([east, north]) - 1)
    low = np.maximum(0, np.ceil((corner - (place.min(axis=0) - margin)) / step - 1e-6)).astype(int)
    high = np.maximum(0, np.ceil((place.max(axis=0) + margin - last) / step - 1e-6)).astype(int)
    number = np.full(len(old.points), -1)
    number[origin[origin >= 0]] = np.flatnonzero(origin >= 0)
    more = max(0, min(slots, len(origin)) - width)
    wide = ((low[0], high[0]), (low[1], high[1]), (0, more))
    renumbered = number[np.asarray(old.slot)]
    probability = np.where(renumbered < 0, 0.0, np.asarray(old.probability))
    stale = np.pad(np.zeros((east, north), bool), wide[:2], constant_values=True)
    return (
        np.pad(np.maximum(renumbered, 0), wide).astype(np.int32),
        np.pad(probability, wide).astype(np.float32), corner - step * low, stale,
    )  # fmt: skip
