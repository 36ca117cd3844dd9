"""Static points: the environment as radio sees it, virtual anchors and scatterers in one type.

While a specular path keeps its sequence of walls, it behaves like a straight ray to an image of
the user.  Reflections in vertical walls and level planes turn the user's position into that image
by one isometry: a rotation, perhaps mirrored, and a shift in the plane; a sign and a shift in
height.  The isometry depends on the walls alone, so all stations share it; a station's virtual
anchor is its image under the inverse.  A scatterer or a diffracting edge does not move at all.

Every view that a stage needs is derived from the isometry (`static_point_views`) and never stored
beside it.

Takes what a channel map, a tracker, an image or a site knows of the environment.
Gives `StaticPoints` in the site's frame; joined, inverted, composed.
"""

import dataclasses
import enum
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from echoscape.units import wrap_angle

AnyArray = jax.Array | np.ndarray


class PointKind(enum.IntEnum):
    """How a path by way of the point depends on its two ends."""

    VIRTUAL_ANCHOR = 0
    """A sequence of walls: the user's image is an isometry of the position."""
    SCATTERER = 1
    """A point that reradiates: both legs end there."""
    EDGE = 2
    """A vertical edge that diffracts: both legs end at it in the plane, the height unfolds."""
    UNDETERMINED = 3
    """Observed from one place: where the user's image is in the plane is known, not how it moves;
    heights as for a virtual anchor."""


class StaticPoints(eqx.Module):
    """A set of static points; lengths in metres in the site's frame, axes x, y horizontal, z up.

    The image of a user at ``p``, as a station sees it, is ``M p[:2] + offset`` in the plane, with
    ``M = R(rotation) diag(1, reflection)``, at the height ``vertical_reflection p[2] +
    height_offset``.  A scatterer stands at (`offset`, `height_offset`); an edge stands at `offset`
    and treats heights as a virtual anchor does.
    """

    kind: Int[AnyArray, " point"]
    """One of `PointKind`."""
    rotation: Float[AnyArray, " point"]
    """Rotation angle of the isometry, counter-clockwise [rad]."""
    reflection: Float[AnyArray, " point"]
    """-1 after an odd number of vertical walls, else 1."""
    offset: Float[AnyArray, "point 2"]
    """Shift after the rotation; position of a scatterer or an edge [m]."""
    vertical_reflection: Float[AnyArray, " point"]
    """-1 after an odd number of reflections in level planes, else 1."""
    height_offset: Float[AnyArray, " point"]
    """Height of the image of a user at height zero; height of a scatterer [m]."""
    covariance: Float[AnyArray, "point 4 4"] | None = None
    """Of (offset, height_offset, rotation), as a path meets the point [m, m, m, rad]."""
    log_gain: Float[AnyArray, " point"] | None = None
    """Natural logarithm of power times the squared length of the path, or, for a SCATTERER, times
    the squares of both legs."""
    log_gain_std: Float[AnyArray, " point"] | None = None
    """Standard deviation of `log_gain`."""
    visibility: Float[AnyArray, " point"] | None = None
    """Share of the surveyed places at which the point's path was observed [1]."""
    confirmed: Float[AnyArray, " point"] | None = None
    """Time at which an observation last confirmed the point [s]."""
    origin: Int[AnyArray, " point"] | None = None
    """Index into `provenance`."""
    valid: Bool[AnyArray, " point"] | None = None
    """False for padding; None where every point is valid."""
    provenance: tuple[str, ...] = eqx.field(default=(), static=True)
    """Where points came from, such as ``reports of roof`` or ``image``."""

    def __check_init__(self):
        counts = {leaf.shape[:1] for leaf in jax.tree.leaves(self)}
        if len(counts) > 1:
            raise ValueError(f"static points need one entry each; got lengths {sorted(counts)}")
        for name in ("reflection", "vertical_reflection"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and not np.all(np.abs(value) == 1):
                raise ValueError(f"{name} must be -1 or 1; got {value[np.abs(value) != 1][0]}")
        turn = self.rotation
        if isinstance(turn, np.ndarray) and not np.all(np.abs(turn) <= 4 * np.pi):
            raise ValueError(
                "rotation must be finite and in rad, at most two turns; got "
                f"{turn[~(np.abs(turn) <= 4 * np.pi)][0]:g}"
            )

    def __len__(self) -> int:
        """Count the points, padding included."""
        return self.rotation.shape[0]

    def __getitem__(self, index) -> "StaticPoints":
        """Select points by a mask, indices or a slice."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __repr__(self) -> str:
        """Tell counts of each kind, the extent and where the points came from."""
        if not all(isinstance(leaf, np.ndarray | jax.Array) for leaf in jax.tree.leaves(self)):
            return "StaticPoints(...)"  # while JAX transforms
        if isinstance(self.rotation, Tracer):
            return f"StaticPoints({self.rotation.shape[0]} points, traced)"
        used = np.ones(len(self), bool) if self.valid is None else np.asarray(self.valid)
        kind = np.asarray(self.kind)[used]
        counts = [
            f"{np.sum(kind == each)} {each.name.lower().replace('_', ' ')}{'s' * (k < 3)}"
            for k, each in enumerate(PointKind)
            if np.any(kind == each)
        ]
        content = ", ".join(counts) or "none"
        source = f", from {', '.join(self.provenance)}" if self.provenance else ""
        return f"StaticPoints({content}{source})"

    @classmethod
    def scatterers(
        cls,
        position: Float[AnyArray, "point 3"],
        covariance: Float[AnyArray, "point 3 3"] | None = None,
        **known,
    ) -> "StaticPoints":
        """Make points that reradiate.

        Args:
            position: Where they stand [m].
            covariance: Of the positions, as a path meets them [m^2].
            known: Further fields.
        """
        one = np.ones(len(position))
        if covariance is not None:
            covariance = np.pad(np.asarray(covariance, dtype=float), ((0, 0), (0, 1), (0, 1)))
        kind = np.full(len(position), PointKind.SCATTERER)
        return cls(kind, 0.0 * one, one, position[:, :2], one, position[:, 2], covariance, **known)

    @classmethod
    def from_walls(
        cls, normal: Float[AnyArray, "wall 3"], distance: Float[AnyArray, " wall"], **known
    ) -> "StaticPoints":
        """Make the single reflections in planes ``normal . x = distance``, vertical or level.

        Args:
            normal: Unit normals [1].
            distance: Distances of the planes from the origin [m].
            known: Further fields.

        Raises:
            ValueError: A plane is neither vertical nor level.
        """
        normal, distance = np.asarray(normal, float), np.asarray(distance, float)
        level = np.abs(normal[:, 2]) > 0.5
        tilt = np.where(level, np.hypot(normal[:, 0], normal[:, 1]), np.abs(normal[:, 2]))
        if np.any(tilt > 1e-6):
            raise ValueError("static points need vertical or level planes; got a tilted one")
        azimuth = np.arctan2(normal[:, 1], normal[:, 0])
        return cls(
            kind=np.full(len(normal), PointKind.VIRTUAL_ANCHOR),
            rotation=np.where(level, 0.0, wrap_angle(2 * azimuth + np.pi)),
            reflection=np.where(level, 1.0, -1.0),
            offset=np.where(level[:, None], 0.0, 2 * distance[:, None] * normal[:, :2]),
            vertical_reflection=np.where(level, -1.0, 1.0),
            height_offset=np.where(level, 2 * distance * np.sign(normal[:, 2]), 0.0),
            **known,
        )


def concatenate(sets: Sequence[StaticPoints]) -> StaticPoints:
    """Join sets of points; a field that one of them lacks is unknown (NaN) for its points."""
    provenance = tuple(dict.fromkeys(name for each in sets for name in each.provenance))
    columns = {}
    for field in dataclasses.fields(StaticPoints):
        if field.name == "provenance":
            continue
        values = [getattr(each, field.name) for each in sets]
        if field.name == "origin":
            values = [
                np.array([provenance.index(each.provenance[k]) for k in np.asarray(each.origin)])
                if each.origin is not None
                else np.full(len(each), provenance.index(each.provenance[0]))
                if each.provenance
                else None
                for each in sets
            ]
        if all(value is None for value in values):
            continue
        empty = {"valid": True, "origin": -1}.get(field.name, np.nan)
        shape = next(value.shape[1:] for value in values if value is not None)
        columns[field.name] = np.concatenate([
            np.full((len(each), *shape), empty) if value is None else np.asarray(value)
            for each, value in zip(sets, values)
        ])  # fmt: skip
    return StaticPoints(**columns, provenance=provenance)


def rotation_matrix(points: StaticPoints) -> Float[AnyArray, "point 2 2"]:
    """Build the matrices of the isometries in the plane."""
    lib = library_of(points.rotation)
    cos, sin = lib.cos(points.rotation), lib.sin(points.rotation)
    return lib.stack(
        [
            lib.stack([cos, -points.reflection * sin], -1),
            lib.stack([sin, points.reflection * cos], -1),
        ],
        -2,
    )


def isometry(points: StaticPoints, place: Float[AnyArray, "3"]) -> Float[AnyArray, "point 3"]:
    """Apply each point's isometry to a position: the user's image, for a virtual anchor [m]."""
    lib = library_of(points.rotation, place)
    level = rotation_matrix(points) @ place[:2] + points.offset
    height = points.vertical_reflection * place[2] + points.height_offset
    return lib.concatenate([level, height[:, None]], axis=-1)


def translate(points: StaticPoints, origin: Float[AnyArray, "3"]) -> StaticPoints:
    """Describe the same points in a frame whose origin lies at a position of the present one [m].

    A channel map computes in the frame of its station, where numbers are small.
    """
    lib = library_of(points.rotation, origin)
    moves = points.kind == PointKind.VIRTUAL_ANCHOR
    shifted = rotation_matrix(points) @ origin[:2]
    turned = points.offset + shifted
    sign = lib.where(points.kind == PointKind.SCATTERER, 0.0, points.vertical_reflection)
    covariance = points.covariance
    if covariance is not None:
        quarter = lib.stack([-shifted[:, 1], shifted[:, 0]], -1) * moves[:, None]
        one = lib.ones_like(points.rotation)
        eye = lib.broadcast_to(lib.eye(2), (len(points), 2, 2))
        slope = _slope(lib, eye, quarter, one, one)
        covariance = slope @ covariance @ lib.swapaxes(slope, -1, -2)
    return dataclasses.replace(
        points,
        offset=lib.where(moves[:, None], turned, points.offset) - origin[None, :2],
        height_offset=points.height_offset + sign * origin[2] - origin[2],
        covariance=covariance,
    )


def inverse(points: StaticPoints) -> StaticPoints:
    """Invert the isometries, which turns the direction of travel round; scatterers stay."""
    lib = library_of(points.rotation)
    scattered = points.kind == PointKind.SCATTERER
    stays = scattered | (points.kind == PointKind.EDGE)
    matrix = rotation_matrix(points)
    offset = -lib.einsum("pji,pj->pi", matrix, points.offset)
    height = -points.vertical_reflection * points.height_offset
    covariance = points.covariance
    if covariance is not None:
        quarter = lib.stack([-points.offset[:, 1], points.offset[:, 0]], -1)
        slope = _slope(
            lib,
            -lib.swapaxes(matrix, -1, -2),
            lib.einsum("pji,pj->pi", matrix, quarter),
            -points.vertical_reflection,
            -points.reflection,
        )
        one = lib.ones_like(points.rotation)
        height_sign = lib.where(scattered, 1.0, -points.vertical_reflection)
        still = _slope(lib, lib.broadcast_to(lib.eye(2), matrix.shape), quarter * 0.0,
                       height_sign, one)  # fmt: skip
        slope = lib.where(stays[:, None, None], still, slope)
        covariance = slope @ covariance @ lib.swapaxes(slope, -1, -2)
    return dataclasses.replace(
        points,
        rotation=lib.where(stays, points.rotation, -points.reflection * points.rotation),
        offset=lib.where(stays[:, None], points.offset, offset),
        height_offset=lib.where(scattered, points.height_offset, height),
        covariance=covariance,
    )


def compose(outer: StaticPoints, inner: StaticPoints) -> StaticPoints:
    """Compose virtual anchors: reflections of `inner` first, those of `outer` after them.

    The image of a user by walls A, then B, counted from the station, is ``compose(A, B)``.
    Covariances propagate as those of independent points; gains and the rest are left out.

    Raises:
        ValueError: A point is no virtual anchor.
    """
    for each in (outer.kind, inner.kind):
        if isinstance(each, np.ndarray) and np.any(each != PointKind.VIRTUAL_ANCHOR):
            raise ValueError("only virtual anchors compose; a scatterer has no isometry")
    lib = library_of(outer.rotation, inner.rotation)
    matrix = rotation_matrix(outer)
    moved = lib.einsum("pij,pj->pi", matrix, inner.offset)
    covariance = None
    if outer.covariance is not None and inner.covariance is not None:
        one, zero = lib.ones_like(outer.rotation), lib.zeros_like(inner.offset)
        eye = lib.broadcast_to(lib.eye(2), matrix.shape)
        quarter = lib.stack([-moved[:, 1], moved[:, 0]], -1)
        first = _slope(lib, eye, quarter, one, one)
        second = _slope(lib, matrix, zero, outer.vertical_reflection, outer.reflection)
        covariance = first @ outer.covariance @ lib.swapaxes(first, -1, -2)
        covariance = covariance + second @ inner.covariance @ lib.swapaxes(second, -1, -2)
    return StaticPoints(
        kind=outer.kind,
        rotation=wrap_angle(outer.rotation + outer.reflection * inner.rotation),
        reflection=outer.reflection * inner.reflection,
        offset=moved + outer.offset,
        vertical_reflection=outer.vertical_reflection * inner.vertical_reflection,
        height_offset=outer.vertical_reflection * inner.height_offset + outer.height_offset,
        covariance=covariance,
    )


def _slope(lib, plane, turned, height, rotation):
    """Assemble the derivative of a result's (offset, height, rotation) by a point's own."""
    zero = lib.zeros_like(height)
    rows = [lib.stack([plane[:, k, 0], plane[:, k, 1], zero, turned[:, k]], -1) for k in (0, 1)]
    rows.append(lib.stack([zero, zero, height, zero], -1))
    rows.append(lib.stack([zero, zero, zero, rotation], -1))
    return lib.stack(rows, -2)


def library_of(*arrays):
    """Compute in numpy what is numpy, in double precision, and in JAX everything else."""
    return np if all(isinstance(each, np.ndarray) for each in arrays) else jnp
