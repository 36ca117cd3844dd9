"""A path as a straight ray from a static point: what an anchor predicts a receiver measures.

A specular path of any number of bounces comes, while its sequence of walls lasts, straight from the
station's image in those walls, the *virtual anchor*.  The image is the station turned and perhaps
mirrored, so the departure azimuth is ``turn + sign * azimuth(user - anchor)`` with `sign` -1 after
an odd number of vertical walls, and the departure elevation keeps or changes its sign with each
reflection in the ground.  After one vertical wall the turn is no unknown: the wall is the
perpendicular bisector of station and image.  Then the measured departure ties both to the station
itself, which is what keeps a user on the map where the station is out of sight.  A point scatterer
is static too, with a delay of two legs.

Takes positions of user, anchor and station, and what kind of anchor it is.
Gives the five numbers of a path, and their derivatives.
"""

import enum
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from echoscape.scene import angles_of, distance
from echoscape.units import wrap_angle

MEASURED = ("length", "arrival_azimuth", "arrival_zenith", "departure_azimuth", "departure_zenith")
"""What a path is measured by: its length [m] and four angles [rad]."""


class AnchorType(enum.IntEnum):
    """How the departure azimuth of an anchor's path follows from its geometry."""

    STATION = 0
    """The station itself, line of sight."""
    ONE_WALL = 1
    """Image in one vertical wall: the turn follows from the two positions."""
    EVEN = 2
    """Image turned by an unknown angle: an even number of walls."""
    ODD = 3
    """Image turned and mirrored: an odd number of walls."""
    UNDECIDED = 4
    """Not seen for long enough to tell; the departure azimuth does not move the user."""
    SCATTERER = 5
    """A point that reradiates: both legs end there."""


def predict_path(
    local: Float[Array, "7"],
    kind: Int[Array, ""],
    reflection: Float[Array, ""],
    vertical_reflection: Float[Array, ""],
    station: Float[Array, "3"],
) -> Float[Array, "5"]:
    """Predict length, arrival and departure of the path from one anchor, `MEASURED`.

    Eqs. (14)-(19) of [isac-gbsm] with image points in place of first and last bounces.

    Args:
        local: Position of the user [m], of the anchor [m], and the turn [rad].
        kind: One of `AnchorType`.
        reflection: +1 or -1, the sense in which the image turns where `kind` does not say.
        vertical_reflection: -1 after an odd number of reflections in level planes, else +1.
        station: Position of the station [m].
    """
    user, anchor, turn = local[:3], local[3:6], local[6]
    toward = user - anchor
    leg = station_leg(anchor, station)
    scattered = kind == AnchorType.SCATTERER
    length = distance(toward) + jnp.where(scattered, distance(leg), 0.0)
    arrival_azimuth, arrival_zenith = angles_of(-toward)
    image_azimuth, image_zenith = angles_of(toward * jnp.array([1.0, 1.0, vertical_reflection]))
    point_azimuth, point_zenith = angles_of(leg)
    offset = jnp.where(kind == AnchorType.ONE_WALL, 2 * point_azimuth + math.pi, turn)
    offset = jnp.where(kind == AnchorType.STATION, 0.0, offset)
    image_azimuth = offset + mirror_sign(kind, reflection) * image_azimuth
    departure_azimuth = jnp.where(scattered, point_azimuth, image_azimuth)
    departure_zenith = jnp.where(scattered, point_zenith, image_zenith)
    return jnp.stack(
        [
            length,
            arrival_azimuth,
            arrival_zenith,
            wrap_angle(departure_azimuth),
            departure_zenith,
        ]
    )


def station_leg(anchor: Float[Array, "3"], station: Float[Array, "3"]) -> Float[Array, "3"]:
    """Lead from the station to the anchor; a level unit vector where they coincide [m]."""
    leg = anchor - station
    here = jnp.sum(leg[:2] ** 2) < 1e-6
    return jnp.where(here, jnp.array([1.0, 0.0, 0.0]), leg)


def mirror_sign(kind: Int[Array, ""], reflection: Float[Array, ""]) -> Float[Array, ""]:
    """Tell in which sense the departure azimuth turns with the user's bearing [1]."""
    mirrored = (kind == AnchorType.ONE_WALL) | (kind == AnchorType.ODD)
    plain = (kind == AnchorType.EVEN) | (kind == AnchorType.STATION)
    return jnp.where(mirrored, -1.0, jnp.where(plain, 1.0, reflection))


def array_station(
    station: Float[Array, "3"], pivot: Float[Array, "2"], heading: Float[Array, ""]
) -> Float[Array, "3"]:
    """Give the station in the frame of the user's array, turned about the user's start [m].

    Args:
        station: Position in the site's frame [m].
        pivot: Where the user started, which both frames share [m].
        heading: Of the user's array in the site's frame [rad].
    """
    return jnp.concatenate([pivot + rotate(station[:2] - pivot, -heading), station[2:]])


def rotate(vector: Float[Array, "2"], angle: Float[Array, ""]) -> Float[Array, "2"]:
    """Turn a vector counter-clockwise by an angle [rad]."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def predict_measured(
    local: Float[Array, "10"],
    kind: Int[Array, ""],
    reflection: Float[Array, ""],
    vertical_reflection: Float[Array, ""],
    station: Float[Array, "3"],
    pivot: Float[Array, "2"],
) -> Float[Array, "5"]:
    """Predict a path as `predict_path` does, with clock and headings, in the array's frame.

    User and anchor are given as the user's array has them, so that no measurement of an image whose
    rotation is free depends on the heading: turning the whole map with the user changes nothing
    that is observed, and the filter must not believe otherwise.  Only paths tied to the station
    carry the heading.

    Args:
        local: User [m], clock [m], headings of user and station [rad], anchor [m], rotation [rad].
        kind: One of `AnchorType`.
        reflection: +1 or -1 where `kind` does not say.
        vertical_reflection: -1 after an odd number of reflections in level planes, else +1.
        station: Position of the station in the site's frame [m].
        pivot: Where the user started [m].
    """
    user, clock, heading, turned, anchor = local[:3], local[3], local[4], local[5], local[6:9]
    here = array_station(station, pivot, heading)
    anchor = jnp.where(kind == AnchorType.STATION, here, anchor)
    seen = predict_path(
        jnp.concatenate([user, anchor, local[9:]]), kind, reflection, vertical_reflection, here
    )
    tied = (
        (kind == AnchorType.STATION)
        | (kind == AnchorType.ONE_WALL)
        | (kind == AnchorType.SCATTERER)
    )
    departure = wrap_angle(seen[3] + jnp.where(tied, heading + turned, 0.0))
    return jnp.stack([seen[0] + clock, seen[1], seen[2], departure, seen[4]])


def predict_with_slope(
    local: Float[Array, "10"],
    kind: Int[Array, ""],
    reflection: Float[Array, ""],
    vertical_reflection: Float[Array, ""],
    station: Float[Array, "3"],
    pivot: Float[Array, "2"],
) -> tuple[Float[Array, "5"], Float[Array, "5 10"]]:
    """Predict as `predict_measured` does, with the derivative by the ten coordinates."""

    def twice(local):
        predicted = predict_measured(local, kind, reflection, vertical_reflection, station, pivot)
        return predicted, predicted

    slope, predicted = jax.jacfwd(twice, has_aux=True)(local)
    return predicted, slope


def path_residual(measured: Float[Array, "5"], predicted: Float[Array, "5"]) -> Float[Array, "5"]:
    """Subtract a prediction from a measurement, azimuths wrapped [m, rad]."""
    difference = measured - predicted
    azimuth = jnp.array([False, True, False, True, False])
    return jnp.where(azimuth, wrap_angle(difference), difference)
