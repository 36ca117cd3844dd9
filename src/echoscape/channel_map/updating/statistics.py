"""What the paths of a point say together: sums that grow by every batch.

The weighted least-squares isometry follows from sums over its paths (a Procrustes problem), so
sums of batches give exactly the joint estimate, in any order.  A scattering edge is not linear
in its position; its normal equations are linearised where the point was when a path came
(an extended information filter).

Takes `UnfoldedPaths` with the point that each belongs to.
Gives `PointStatistics`, and estimates from them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from echoscape.channel_map.storage import storable
from echoscape.channel_map.virtual_anchors.search import (
    FittedPoint,
    isometry_matrix,
    misfit,
)
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths


@storable("point-statistics")
class PointStatistics(eqx.Module):
    """Sums over the paths that each point explains; places relative to the station [m].

    The robust weight of a path is ``1 / (along_std across_std (1 + misfit / 4))`` [1/m^2], with
    its misfit when it came.
    """

    count: Float[np.ndarray, " point"]
    """Number of paths."""
    weight: Float[np.ndarray, " point"]
    """Sum of robust weights."""
    place: Float[np.ndarray, "point 2"]
    """Weighted sum of the users' places."""
    image: Float[np.ndarray, "point 2"]
    """Weighted sum of the unfolded points."""
    product: Float[np.ndarray, "point 2 2"]
    """Weighted sum of the outer products of unfolded point and place."""
    information: Float[np.ndarray, "point 2 2"]
    """Information on the position of an edge [1/m^2]; zero for an isometry."""
    information_vector: Float[np.ndarray, "point 2"]
    """Information times the position of an edge [1/m]."""
    plain: Float[np.ndarray, "point 4"]
    """Sums with weights that are not robust: of ones, of the place, of its square."""
    misfit: Float[np.ndarray, " point"]
    """Sum of squared residuals in deviations."""
    jitter: Float[np.ndarray, "point 2"]
    """For an edge, sums of what errors leave unexplained and of how much its jitter counts."""
    height: Float[np.ndarray, "point 5"]
    """Weighted sums of one, of (difference, its square) and (sum, its square) of heights."""
    lowest: Float[np.ndarray, " point"]
    """Lowest user [m]."""
    highest: Float[np.ndarray, " point"]
    """Highest user [m]."""
    gain: Float[np.ndarray, "point 3"]
    """Sums of one, of log gains and of their squares."""

    def __len__(self) -> int:
        """Count the points."""
        return len(self.count)

    def __getitem__(self, index) -> "PointStatistics":
        """Select points by a mask, indices or a slice."""
        return _map(lambda leaf: leaf[index], self)


def _map(function, *statistics: PointStatistics) -> PointStatistics:
    names = [field.name for field in dataclasses.fields(PointStatistics)]
    return PointStatistics(**{n: function(*(getattr(s, n) for s in statistics)) for n in names})


def join_statistics(parts: list[PointStatistics]) -> PointStatistics:
    """List the points of several sets one after the other."""
    return _map(lambda *leaves: np.concatenate(leaves), *parts)


def add_statistics(all_points: PointStatistics, which, more: PointStatistics) -> PointStatistics:
    """Add what new paths say to some of the points.

    Args:
        all_points: Of all points.
        which: Index of each point that gains paths, each once.
        more: What its new paths say.
    """
    total = _map(np.array, all_points)
    for field in dataclasses.fields(PointStatistics):
        leaf, new = getattr(total, field.name), getattr(more, field.name)
        if field.name == "lowest":
            leaf[which] = np.minimum(leaf[which], new)
        elif field.name == "highest":
            leaf[which] = np.maximum(leaf[which], new)
        else:
            leaf[which] += new
    return total


def gather_statistics(paths: UnfoldedPaths, points: Sequence[FittedPoint]) -> PointStatistics:
    """Sum over the members of each point, robustly about where it is now.

    Args:
        paths: Paths that `FittedPoint.member` counts.
        points: The points and their paths.
    """
    if not points:
        axes = {"place": (2,), "image": (2,), "product": (2, 2), "information": (2, 2),
                "information_vector": (2,), "plain": (4,), "jitter": (2,), "height": (5,),
                "gain": (3,)}  # fmt: skip
        names = [field.name for field in dataclasses.fields(PointStatistics)]
        return PointStatistics(**{name: np.zeros((0, *axes.get(name, ()))) for name in names})
    rows = [_sums(paths, point) for point in points]
    return PointStatistics(**{n: np.array([row[n] for row in rows], float) for n in rows[0]})


def _sums(paths: UnfoldedPaths, point: FittedPoint) -> dict[str, Any]:
    m = point.member
    square = misfit(paths, m, point.reflection, point.rotation, point.offset)
    plain = 1.0 / (paths.along_std[m] * paths.across_std[m])
    weight = plain / (1.0 + square / 4.0)
    place, image = paths.place[m, :2], paths.point[m, :2]
    information, vector, jitter = np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    if point.reflection == 0:
        information, vector, jitter = _of_edge(paths, m, point.offset, weight)
    level = 1.0 / paths.height_std[m] ** 2
    difference = paths.point[m, 2] - paths.place[m, 2]
    total = paths.point[m, 2] + paths.place[m, 2]
    gain = paths.log_gain[m][np.isfinite(paths.log_gain[m])]
    return {
        "count": len(m),
        "weight": weight.sum(),
        "place": weight @ place,
        "image": weight @ image,
        "product": (weight[:, None] * image).T @ place,
        "information": information,
        "information_vector": vector,
        "plain": [plain.sum(), *(plain @ place), plain @ np.sum(place**2, axis=1)],
        "misfit": square.sum(),
        "jitter": jitter,
        "height": [level.sum(), level @ difference, level @ difference**2,
                   level @ total, level @ total**2],
        "lowest": paths.place[m, 2].min(),
        "highest": paths.place[m, 2].max(),
        "gain": [len(gain), gain.sum(), gain @ gain],
    }  # fmt: skip


def _of_edge(paths: UnfoldedPaths, m, position, weight):
    """Linearise the paths by way of an edge: information, its vector, and sums of its jitter."""
    reach = np.linalg.norm(position)
    out = position / reach
    leg = paths.place[m, :2] - position
    rest = np.maximum(np.linalg.norm(leg, axis=1), 1e-3)
    length = np.sum(paths.point[m, :2] * paths.outward[m], axis=1)
    turn = paths.outward[m, 1] * out[0] - paths.outward[m, 0] * out[1]
    along = out - leg / rest[:, None]
    across = (length / reach)[:, None] * np.array([-out[1], out[0]])
    residual = np.stack([length - reach - rest, length * turn])
    slope = np.stack([along, across])  # (kind of residual, path, coordinate)
    information = np.einsum("p,kpi,kpj->ij", weight, slope, slope)
    vector = np.einsum("p,kpi,kp->i", weight, slope, residual + slope @ position)
    allowed = np.stack([paths.along_std[m], paths.across_std[m]]) ** 2
    pull = np.sum(slope**2, axis=-1)
    seen = np.sum((residual**2 - (allowed - paths.model_error**2)) / allowed)
    return information, vector, np.array([seen, np.sum(pull / allowed)])


def estimate_isometry(
    statistics: PointStatistics, reflection
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "point 2"]]:
    """Solve for the isometries of least squares; an edge takes its own estimate.

    Args:
        statistics: Of each point.
        reflection: Of each point, 1 or -1; 0 for an edge.

    Returns:
        Rotations [rad] and shifts [m] as those of `FittedPoint`.
    """
    weight = statistics.weight[:, None]
    centre, middle = statistics.place / weight, statistics.image / weight
    h = statistics.product - middle[:, :, None] * statistics.place[:, None, :]
    rotation = np.arctan2(
        h[:, 1, 0] - reflection * h[:, 0, 1], h[:, 0, 0] + reflection * h[:, 1, 1]
    )
    matrix = isometry_matrix(reflection, rotation)
    offset = middle - np.einsum("pij,pj->pi", matrix, centre)
    edge = reflection == 0
    if edge.any():
        information = statistics.information[edge] + 1e-9 * np.eye(2)
        position = np.linalg.solve(information, statistics.information_vector[edge][..., None])
        offset[edge] = position[..., 0]
        rotation[edge] = np.arctan2(offset[edge, 1], offset[edge, 0])
    return rotation, offset
