"""Static points of a map as a start: what is known of the environment before anything is observed.

A point of a map may or may not be visible from where the user is; so it takes a slot as one that
was followed before and is not detected now, existing with the probability that the map saw its path
at a place.  It is recognised when its path appears, moves with what is observed then, and is never
forgotten.

Takes `StaticPoints` in the site's frame and the station.
Gives a `JointState` with these points in its first slots.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import logit

from echoscape.scene.static_points import PointKind, StaticPoints, rotation_matrix
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import JointState, set_coordinates
from echoscape.tracking.track_management import ESTABLISHED

MOST = 200
"""Points of a map that are taken, the most visible ones."""
_LEAST_ODDS = -2.0  # of a path's existence: a point seldom seen is not yet forgotten
_NEAR = 1.0  # an image this near the station is the station [m]
_UNKNOWN_STD = (0.5, 0.5, 0.5, np.radians(2.0))  # of points without covariance [m, m, m, rad]


class KnownPoints(eqx.Module):
    """Points of a map as slots hold them."""

    coordinate: Float[Array, "point 4"]
    """Position [m] and rotation [rad] of each."""
    covariance: Float[Array, "point 4 4"]
    """Their covariance."""
    kind: Int[Array, " point"]
    """One of `AnchorType`."""
    reflection: Float[Array, " point"]
    """-1 after an odd number of vertical walls."""
    vertical_reflection: Float[Array, " point"]
    """-1 after an odd number of reflections in level planes."""
    odds: Float[Array, " point"]
    """Log-odds that the path exists where the user is [nat]."""


def known_points(points: StaticPoints, station: Float[np.ndarray, "3"]) -> KnownPoints:
    """Give the station's images, or scatterers, of a map's points.

    Points that were observed from one place only, and edges, are left out: how their paths change
    with the user is not known here.
    """
    keep = np.isin(points.kind, (int(PointKind.VIRTUAL_ANCHOR), int(PointKind.SCATTERER)))
    if points.valid is not None:
        keep = keep & np.asarray(points.valid)
    points = points[keep]
    scattered = np.asarray(points.kind) == PointKind.SCATTERER
    matrix = np.asarray(rotation_matrix(points))
    offset, flip = np.asarray(points.offset), np.asarray(points.vertical_reflection)
    height = np.asarray(points.height_offset)
    leg = station[:2] - offset
    image = np.concatenate(
        [np.einsum("pji,pj->pi", matrix, leg), (flip * (station[2] - height))[:, None]], axis=1
    )
    position = np.where(
        scattered[:, None], np.concatenate([offset, height[:, None]], axis=1), image
    )
    rotation = np.asarray(points.rotation)
    quarter = np.stack([leg[:, 1], -leg[:, 0]], axis=-1)
    slope = np.zeros((len(rotation), 4, 4))
    slope[:, :2, :2] = -np.swapaxes(matrix, -1, -2)
    slope[:, :2, 3] = np.einsum("pji,pj->pi", matrix, quarter)
    slope[:, 2, 2], slope[:, 3, 3] = -flip, 1.0
    slope[scattered] = np.diag([1.0, 1.0, 1.0, 0.0])
    spread = np.tile(np.diag(np.square(_UNKNOWN_STD)), (len(rotation), 1, 1))
    if points.covariance is not None:
        given = np.asarray(points.covariance)
        spread = np.where(np.all(np.isfinite(given), axis=(1, 2), keepdims=True), given, spread)
    covariance = slope @ spread @ np.swapaxes(slope, -1, -2) + 1e-6 * np.eye(4)
    mirrored = np.asarray(points.reflection) < 0
    kind = np.where(mirrored, int(AnchorType.ODD), int(AnchorType.EVEN))
    kind = np.where(scattered, int(AnchorType.SCATTERER), kind)
    seen = np.full(len(kind), 0.5) if points.visibility is None else np.asarray(points.visibility)
    coordinate = np.concatenate([position, rotation[:, None]], axis=1)
    odds = np.maximum(logit(np.clip(seen, 1e-3, 0.9)), _LEAST_ODDS)
    parts = (coordinate, covariance, kind, np.asarray(points.reflection, float), flip, odds)
    return KnownPoints(*(jnp.asarray(part) for part in parts))


def points_to_hold(points: StaticPoints, station: Float[np.ndarray, "3"]) -> KnownPoints:
    """Pick what a filter starts with: the most visible points, without the station itself.

    The station has a slot of its own; `MOST` bounds the filter's time and memory.
    """
    known = known_points(points, station)
    away = np.linalg.norm(np.asarray(known.coordinate)[:, :3] - station, axis=1) > _NEAR
    rank = np.where(
        (np.asarray(known.kind) == AnchorType.EVEN) & ~away, -np.inf, np.asarray(known.odds)
    )
    best = np.sort(np.argsort(-rank, kind="stable")[:MOST])
    best = best[np.isfinite(rank[best])]
    return jax.tree.map(lambda leaf: leaf[best], known)


def hold_points(state: JointState, known: KnownPoints, settings: JointFilter) -> JointState:
    """Put a map's points into the slots after the station's."""
    count, size = settings.slots, known.kind.shape[0]
    rows = jnp.arange(1, size + 1)

    def wide(values, empty=0.0):
        shape = (count, *values.shape[1:])
        return jnp.full(shape, empty, values.dtype).at[rows].set(values)

    chosen = jnp.zeros(count, bool).at[rows].set(True)
    coordinate = wide(known.coordinate)
    # the array's frame turns against the site's with the heading, about the user's start
    leg = coordinate[:, :2] - state.pivot[None]
    reflection = jnp.where(chosen, wide(known.reflection, 1.0), state.slots.reflection)
    from_shared = jnp.zeros((count, 4, 6))
    from_shared = from_shared.at[:, 0, 4].set(leg[:, 1]).at[:, 1, 4].set(-leg[:, 0])
    from_shared = from_shared.at[:, 3, 4].set(reflection)
    state = set_coordinates(state, chosen, coordinate, from_shared, wide(known.covariance))
    slots = state.slots

    def where(new, old):
        return jnp.where(chosen.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    slots = eqx.tree_at(
        lambda s: (
            s.kind, s.reflection, s.vertical_reflection, s.odds, s.hits, s.identity, s.founded,
        ),
        slots,
        (
            where(wide(known.kind), slots.kind),
            reflection,
            where(wide(known.vertical_reflection, 1.0), slots.vertical_reflection),
            where(wide(known.odds), slots.odds),
            where(ESTABLISHED, slots.hits),
            where(jnp.arange(count), slots.identity),
            where(-jnp.inf, slots.founded),
        ),
    )  # fmt: skip
    return eqx.tree_at(lambda s: (s.slots, s.born), state, (slots, jnp.array(size + 1)))
