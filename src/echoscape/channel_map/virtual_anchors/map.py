"""The geometric map: static points that explain every path, and where each is reported.

A wall sequence carries the user to an image by a fixed isometry (its virtual anchor); a vertical
edge lies still.  Both predict a path anywhere, exactly; a path that follows neither keeps the image
that was observed, less certain the farther the user moves.  A raster holds the points most probably
reported in each cell (`visibility`).

Takes static points, the errors of their predictions, and a raster of visibility.
Gives a `VirtualAnchorMap`.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.storage import storable, upgraded
from echoscape.channel_map.updating.state import MapState
from echoscape.channel_map.virtual_anchors.height_visibility import HeightVisibility
from echoscape.channel_map.virtual_anchors.table import PointError
from echoscape.estimation import AnyArray
from echoscape.scene import PointKind, StaticPoints, isometry, rotation_matrix, translate


class LocalVirtualAnchors(eqx.Module):
    """The points reported near a place, their identities held fixed; the station is the origin."""

    points: StaticPoints
    """One point per slot."""
    matrix: Float[Array, "point 2 2"]
    """Their isometries in the plane."""
    error: PointError
    """Errors of their predictions."""
    probability: Float[Array, " point"]
    """Probability that each is reported."""
    station_position: Float[Array, "3"]
    """Where the base station is [m]."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at a position nearby [m]."""
        predict = jax.vmap(_predict, in_axes=(0, 0, 0, None))
        place = position - self.station_position
        azimuth, zenith, length, covariance = predict(self.points, self.matrix, self.error, place)
        log_gain = jnp.asarray(self.points.log_gain)
        return PathPrior(
            probability=self.probability,
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            length=length,
            covariance=covariance,
            power=jnp.exp(log_gain) / jnp.maximum(length, 1e-3) ** 2,
            log_power_std=jnp.asarray(self.points.log_gain_std),
        )


def _predict(point: StaticPoints, matrix, error: PointError, place: Float[Array, "3"]):
    """Predict one path at one place, both in the station's frame."""
    lever = place[:2] - error.centre
    # By way of an edge: the ray points at it, its length in the plane is that of the two legs.
    leg = place[:2] - point.offset
    first, second = (jnp.sqrt(jnp.sum(side**2) + 1e-9) for side in (point.offset, leg))
    diffracted = point.offset / first * (first + second)
    image = jnp.where(point.kind == PointKind.UNDETERMINED, 0.0, matrix @ place[:2])
    edge = point.kind == PointKind.EDGE
    image = jnp.where(edge, diffracted, image + point.offset)
    height = point.vertical_reflection * place[2] + point.height_offset
    squared = jnp.sum(image**2) + 1e-9
    level = jnp.sqrt(squared)
    length = jnp.sqrt(squared + height**2)
    out = image / level
    turned = matrix @ jnp.stack([-lever[1], lever[0]])
    isotropic = error.variance + error.stretch_variance * jnp.sum(lever**2)
    along = isotropic + error.rotation_variance * jnp.sum(turned * out) ** 2
    aside = turned[1] * out[0] - turned[0] * out[1]
    across = isotropic + error.rotation_variance * aside**2
    zenith = error.variance / length**2
    mirrored = jnp.diag(jnp.stack([across / squared, zenith, along]))
    jittered = _jitter_covariance(
        error.variance, point.offset / first, first, leg / second, second, zenith
    )
    covariance = jnp.where(edge, jittered, mirrored)
    azimuth = jnp.arctan2(image[1], image[0])
    return azimuth, jnp.arctan2(level, height), length, covariance


def _jitter_covariance(variance, out, reach, back, rest, zenith):
    """Propagate the position variance of an edge into azimuth, zenith and length.

    To first order the length changes by ``(out - back) . jitter``.  Between station and user that
    vanishes and its second order is left, of variance ``tr((H S)^2) / 2``.
    """
    left = jnp.stack([-out[1], out[0]])
    azimuth, length = left / reach, out - back
    near, far = (jnp.sqrt(side**2 + 2.0 * variance) for side in (reach, rest))
    bend = 0.5 * variance**2 * (near**-2 + far**-2 + 2.0 * (out @ back) ** 2 / (near * far))
    both = variance * (azimuth @ length)
    zero = jnp.zeros_like(both)
    return jnp.stack([
        jnp.stack([variance * (azimuth @ azimuth), zero, both]),
        jnp.stack([zero, zenith, zero]),
        jnp.stack([both, zero, variance * (length @ length) + bend]),
    ])  # fmt: skip


@storable("virtual-anchors")
class VirtualAnchorMap(ChannelMap):
    """Static points of one station and the raster of their visibility."""

    points: StaticPoints
    """All points, in the site's frame."""
    error: PointError
    """Errors of their predictions."""
    slot: Int[AnyArray, "east north slot"]
    """Points most probably reported in each cell."""
    probability: Float[AnyArray, "east north slot"]
    """Probability that they are."""
    corner: Float[AnyArray, "2"]
    """Centre of the first cell, from the station [m]."""
    report_position: Float[AnyArray, "report 3"]
    """Where the users were [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    step: float = eqx.field(static=True)
    """Side of a cell [m]."""
    state: MapState | None = None
    """What later reports are added to; none in maps that were made otherwise."""
    heights: HeightVisibility | None = None
    """Visibility above the reports; None in maps of earlier versions: as at street level."""

    def __check_init__(self):
        if self.heights is not None and len(self.heights.middle) != len(self.points):
            raise ValueError(
                f"a map of {len(self.points)} points needs as many windows for what is above its "
                f"reports; got {len(self.heights.middle)}: learn them again (learn_heights)"
            )

    def predictor(self) -> "VirtualAnchorMap":
        """Give a map that predicts the same, without what updates need."""
        return dataclasses.replace(self, station="", state=None)

    def extrapolates(self, position: Float[np.ndarray, "place 3"]) -> Bool[np.ndarray, " place"]:
        """Tell which positions [m] are above the reports."""
        if self.heights is None:
            return np.zeros(len(position), bool)
        above = np.asarray(position)[:, 2] - np.asarray(self.station_position)[2]
        return ~np.asarray(self.heights.at_street(above))

    def at_heights(self, low: float, high: float) -> "VirtualAnchorMap":
        """Leave out what only other heights need."""
        ends = np.array([[0.0, 0.0, low], [0.0, 0.0, high]])
        if self.heights is None or self.extrapolates(ends).any():
            return self
        return dataclasses.replace(self, heights=None)

    def around(self, position: Float[Array, "3"]) -> LocalVirtualAnchors:
        """Pick the anchors of the cell that a position [m] is in."""
        dtype = position.dtype
        station = jnp.asarray(self.station_position, dtype)
        points = translate(self.points, station)
        slot, probability = self._reported(points, position - station)

        def pick(leaf):
            picked = jnp.asarray(leaf)[slot]
            return picked.astype(dtype) if jnp.issubdtype(picked.dtype, jnp.inexact) else picked

        points, error = jax.tree.map(pick, (points, self.error))
        error = dataclasses.replace(error, centre=error.centre - station[None, :2])
        matrix = jnp.asarray(rotation_matrix(points))
        return LocalVirtualAnchors(points, matrix, error, probability, station)

    def _reported(self, points: StaticPoints, place: Float[Array, "3"]):
        """List the points most probably reported at a place, both from the station."""
        cell = jnp.round(place[:2] / self.step - self.corner / self.step)
        shape = self.slot.shape
        east = jnp.clip(cell[0], 0, shape[0] - 1).astype(int)
        north = jnp.clip(cell[1], 0, shape[1] - 1).astype(int)
        slot = jnp.asarray(self.slot)[east, north]
        probability = jnp.asarray(self.probability, place.dtype)[east, north]
        if self.heights is None:
            return slot, probability
        return _above(self.heights, points, place, slot, probability)

    def presence(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, "place point"]:
        """Give the probability that each point's path is reported at positions [m]."""
        station = np.asarray(self.station_position, float)
        points = jax.tree.map(jnp.asarray, translate(self.points, station))

        def one(place):
            slot, probability = self._reported(points, place)
            return jnp.zeros(len(points), probability.dtype).at[slot].max(probability)

        return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(np.asarray(position) - station)))

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        return self.around(position)(position)

    def static_points(self) -> StaticPoints:
        """Give all points, with the covariances of their predictions."""
        covariance = point_covariance(self.points, self.error)
        unknown = np.asarray(self.points.kind) == PointKind.UNDETERMINED
        covariance[unknown, 3, 3] = np.pi**2 / 3.0  # any angle
        origin = np.zeros(len(self.points), dtype=int)
        return dataclasses.replace(
            self.points, covariance=covariance, origin=origin,
            provenance=(f"reports of {self.station}",),
        )  # fmt: skip


def _above(heights: HeightVisibility, points: StaticPoints, place, slot, probability):
    """Choose the points most probably reported at a place, above the reports too.

    Presence is held fixed where it is differentiated, as that of the raster is.
    """
    place = jax.lax.stop_gradient(place)
    points = jax.tree.map(jnp.asarray, points)
    street = jnp.zeros(len(points), probability.dtype).at[slot].max(probability)
    present = heights.presence(points, place, street).astype(probability.dtype)
    present, chosen = jax.lax.top_k(present, slot.shape[0])
    some = points[chosen]
    image = isometry(some, place)
    log_power = jnp.asarray(some.log_gain) - jnp.log(jnp.sum(image**2, axis=1) + 1e-9)
    reported = jnp.minimum(heights.among_strongest(present, log_power), 0.98)
    level = heights.at_street(place[2])
    slot = jnp.where(level, slot, chosen.astype(slot.dtype))
    return slot, jnp.where(level, probability, reported)


def point_covariance(points: StaticPoints, error: PointError) -> Float[np.ndarray, "point 4 4"]:
    """Turn errors about the centre of the reports into those of offset, height and rotation."""
    variance, rotation = (np.asarray(x) for x in (error.variance, error.rotation_variance))
    moved = np.einsum("pij,pj->pi", rotation_matrix(points), np.asarray(error.centre))
    lever = np.stack([-moved[:, 1], moved[:, 0], 0 * variance], -1)
    covariance = np.zeros((len(variance), 4, 4))
    covariance[:, :3, :3] = variance[:, None, None] * np.eye(3)
    covariance[:, :3, :3] += rotation[:, None, None] * lever[:, :, None] * lever[:, None]
    covariance[:, :3, 3] = covariance[:, 3, :3] = -rotation[:, None] * lever
    covariance[:, 3, 3] = rotation
    return covariance


@upgraded("anchor-set")
def _old_points(fields: dict) -> dict:
    """Keep the points of a map of version 0.1 until its station is known."""
    return fields


@upgraded("anchors")
def _old_map(fields: dict) -> VirtualAnchorMap:
    """Read a map of version 0.1: matrices for isometries, all from the station."""
    old, station = fields.pop("anchors"), np.asarray(fields["station_position"], dtype=float)
    matrix = np.asarray(old["matrix"], dtype=float)
    moves = np.abs(matrix).sum(axis=(1, 2)) > 0
    edge = np.asarray(old["scatters"]) > 0
    points = StaticPoints(
        kind=np.select([edge, moves], [PointKind.EDGE, PointKind.VIRTUAL_ANCHOR], 3),
        rotation=np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]),
        reflection=np.where(np.linalg.det(matrix) < 0, -1.0, 1.0),
        offset=np.asarray(old["offset"]),
        vertical_reflection=np.asarray(old["height_sign"]),
        height_offset=np.asarray(old["height_offset"]),
        log_gain=np.asarray(old["log_gain"]),
        log_gain_std=np.asarray(old["log_gain_std"]),
    )
    error = PointError(
        centre=np.asarray(old["centre"]) + station[:2],
        variance=np.asarray(old["variance"]),
        rotation_variance=np.asarray(old["turn_variance"]),
        stretch_variance=np.asarray(old["stretch_variance"]),
    )
    return VirtualAnchorMap(points=translate(points, -station), error=error, **fields)
