"""Users placed by the points that explain their paths, and reports that contradict the points.

Takes `Reports`, their `UnfoldedPaths` and the points of these.
Gives places, and which reports are wrong.
"""

import numpy as np

from echoscape.channel_map.virtual_anchors.search import FittedPoint, isometry_matrix, misfit
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths

RELOCATED = 0.2
"""Error of a user's position after relocation, as a share of the reported one."""
_TRUSTED_MEMBERS = 6
"""Paths that a point must explain before it relocates users."""


def relocate(reports, place, paths: UnfoldedPaths, anchors: list[FittedPoint]):
    """Move every user to where its own paths, seen through the anchors, place it."""
    prior = 1.0 / np.maximum(reports.position_std, 1e-3) ** 2
    normal = prior[:, None, None] * np.eye(2)
    right = prior[:, None] * place[:, :2]
    for anchor in anchors:
        if anchor.reflection == 0 or len(anchor.member) < _TRUSTED_MEMBERS:
            continue
        m = anchor.member
        matrix = isometry_matrix(anchor.reflection, anchor.rotation)
        seen = (paths.point[m, :2] - anchor.offset) @ matrix
        out = paths.outward[m] @ matrix
        left = np.stack([-out[:, 1], out[:, 0]], axis=-1)
        std = reports.position_std[paths.report[m]]
        along = np.maximum(paths.along_std[m] ** 2 - std**2, 0.1**2)
        across = np.maximum(paths.across_std[m] ** 2 - std**2, 0.1**2)
        robust = 1.0 / (
            1.0 + misfit(paths, m, anchor.reflection, anchor.rotation, anchor.offset) / 4.0
        )
        weight = (
            np.einsum("pi,pj->pij", out, out) * (robust / along)[:, None, None]
            + np.einsum("pi,pj->pij", left, left) * (robust / across)[:, None, None]
        )
        np.add.at(normal, paths.report[m], weight)
        np.add.at(right, paths.report[m], np.einsum("pij,pj->pi", weight, seen))
    moved = np.linalg.solve(normal, right[..., None])[..., 0]
    return np.concatenate([moved, place[:, 2:]], axis=1)


def wrong_reports(paths: UnfoldedPaths, free, count) -> np.ndarray:
    """Mark reports whose paths almost all contradict anchors that explain most others."""
    if free.mean() > 0.4:
        return np.zeros(count, dtype=bool)
    listed = np.bincount(paths.report, minlength=count)
    unexplained = np.bincount(paths.report, free, minlength=count)
    return (listed >= 4) & (unexplained > 0.75 * listed)
