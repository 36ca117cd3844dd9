"""The measured basement: ten radio nodes, a person walking by a schedule."""

import numpy as np

CALIBRATE = 50
"""First rows, in which nobody is there."""


def read(folder):
    """Nodes, links, attenuation of each link in time, and where the schedule has the person."""
    node = np.loadtxt(folder / "sensor_coords_basement_m.txt")
    raw = np.loadtxt(folder / "basement_listenx_out_1.txt")
    level, time = raw[:, :720].reshape(-1, 8, 90), raw[:, 720] / 1000
    level = np.where(level > -10, np.nan, level)
    empty = np.nanmean(level[:CALIBRATE], axis=0)
    weaker = empty - level
    pairs = [(tx, rx if rx < tx else rx + 1) for tx in range(10) for rx in range(9)]
    link = np.array(sorted({(min(p), max(p)) for p in pairs}))
    both = [[k for k, p in enumerate(pairs) if set(p) == set(ends)] for ends in link]
    found = np.stack(
        [np.nanmean(weaker[:, :, k].reshape(len(raw), -1), axis=1) for k in both], axis=1
    )
    found = np.where(np.isfinite(found), found, 0.0)
    pivot = np.loadtxt(folder / "pivot_coords_basement_m.txt")
    path = pivot[np.loadtxt(folder / "path_basement_1_f.txt").astype(int)]
    at = (time - 56.0) / 8.0
    there = (at >= 0) & (at <= len(path) - 1)
    place = np.stack([np.interp(at, np.arange(len(path)), path[:, i]) for i in range(2)], 1)
    return node, link, found, place, there


def averaged(weaker, rows):
    """Average each instant with those before it."""
    padded = np.concatenate([np.repeat(weaker[:1], rows - 1, 0), weaker])
    return np.stack([padded[i : i + len(weaker)] for i in range(rows)]).mean(0)
