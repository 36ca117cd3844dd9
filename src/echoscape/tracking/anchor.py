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
LOCAL = 7
"""Coordinates that one path depends on: user (3), anchor (3), turn (1)."""


class Kind(enum.IntEnum):
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
    sign: Float[Array, ""],
    flip: Float[Array, ""],
    station: Float[Array, "3"],
) -> Float[Array, "5"]:
    """Predict length, arrival and departure of the path from one anchor, `MEASURED`.

    Eqs. (14)-(19) of [isac-gbsm] with image points in place of first and last bounces.

    Args:
        local: Position of the user [m], of the anchor [m], and the turn [rad].
        kind: One of `Kind`.
        sign: +1 or -1, the sense in which the image turns where `kind` does not say.
        flip: -1 after an odd number of reflections in level planes, else +1.
        station: Position of the station [m].
    """
    user, anchor, turn = local[:3], local[3:6], local[6]
    toward = user - anchor
    leg = station_leg(anchor, station)
    scattered = kind == Kind.SCATTERER
    length = distance(toward) + jnp.where(scattered, distance(leg), 0.0)
    arrival_azimuth, arrival_zenith = angles_of(-toward)
    image_azimuth, image_zenith = angles_of(toward * jnp.array([1.0, 1.0, flip]))
    point_azimuth, point_zenith = angles_of(leg)
    offset = jnp.where(kind == Kind.ONE_WALL, 2 * point_azimuth + math.pi, turn)
    offset = jnp.where(kind == Kind.STATION, 0.0, offset)
    image_azimuth = offset + turning_sense(kind, sign) * image_azimuth
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


def turning_sense(kind: Int[Array, ""], sign: Float[Array, ""]) -> Float[Array, ""]:
    """Tell in which sense the departure azimuth turns with the user's bearing [1]."""
    mirrored = (kind == Kind.ONE_WALL) | (kind == Kind.ODD)
    plain = (kind == Kind.EVEN) | (kind == Kind.STATION)
    return jnp.where(mirrored, -1.0, jnp.where(plain, 1.0, sign))


def predict_with_slope(
    local: Float[Array, "7"],
    kind: Int[Array, ""],
    sign: Float[Array, ""],
    flip: Float[Array, ""],
    station: Float[Array, "3"],
) -> tuple[Float[Array, "5"], Float[Array, "5 7"]]:
    """Predict a path as `predict_path` does, with the derivative by the seven coordinates."""

    def twice(local):
        predicted = predict_path(local, kind, sign, flip, station)
        return predicted, predicted

    slope, predicted = jax.jacfwd(twice, has_aux=True)(local)
    return predicted, slope


def path_residual(measured: Float[Array, "5"], predicted: Float[Array, "5"]) -> Float[Array, "5"]:
    """Subtract a prediction from a measurement, azimuths wrapped [m, rad]."""
    difference = measured - predicted
    azimuth = jnp.array([False, True, False, True, False])
    return jnp.where(azimuth, wrap_angle(difference), difference)
