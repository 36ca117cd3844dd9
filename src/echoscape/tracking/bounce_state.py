"""First and last bounce points that move: the state of the paper, its motion and measurements.

One path's state is the user, its first and its last bounce, each with a velocity, Eqs. (10)-(13) of
[isac-gbsm].  The length beyond the two outer legs is not in the state: it stays what the first
measurement leaves over, so the paper's delay ``D_T + D_R`` of two bounces holds for any number of
them once that constant is added.

Takes positions [m] and velocities [m/s].
Gives what a state measures, how it moves, and where the last bounce must be.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.scene import angles_of, distance, unit_vector
from echoscape.units import wrap_angle

SIZE = 18
"""Coordinates: user, its velocity, first bounce, its velocity, last bounce, its velocity."""
PLACES = jnp.array([0, 1, 2, 6, 7, 8, 12, 13, 14])
"""Which of them are positions."""
SPEEDS = PLACES + 3
"""Which of them are velocities."""


def measure_bounces(
    state: Float[Array, "18"], station: Float[Array, "3"], beyond: Float[Array, ""]
) -> Float[Array, "5"]:
    """Predict length, arrival and departure, Eqs. (14)-(19), as `anchor.MEASURED`.

    Angles come from ``atan2`` of the coordinates, where the paper distinguishes quadrants.

    Args:
        state: User, first and last bounce with their velocities.
        station: Position of the station [m].
        beyond: Length that neither outer leg explains [m].
    """
    user, first, last = state[0:3], state[6:9], state[12:15]
    departure_azimuth, departure_zenith = angles_of(first - station)
    arrival_azimuth, arrival_zenith = angles_of(last - user)
    length = distance(first - station) + distance(last - user) + beyond
    return jnp.stack([length, arrival_azimuth, arrival_zenith, departure_azimuth, departure_zenith])


def transition(step: Float[Array, ""]) -> Float[Array, "18 18"]:
    """Move at constant velocity, Eq. (20) [s]."""
    return jnp.eye(SIZE).at[PLACES, SPEEDS].set(step)


def motion_noise(
    step: Float[Array, ""], user: float = 0.1, bounce: float = 0.5
) -> Float[Array, "9"]:
    """Give the standard deviation of the acceleration of each of `PLACES` during one step.

    An acceleration ``a`` moves a position by ``a step^2 / 2`` and a velocity by ``a step``, (22).

    Args:
        step: Time of the step; only its shape matters [s].
        user: Of the user [m/s^2].
        bounce: Of bounce points [m/s^2].
    """
    return jnp.repeat(jnp.array([user, bounce, bounce]), 3) + 0.0 * step


def last_bounce(
    length: Float[Array, ""],
    arrival_azimuth: Float[Array, ""],
    arrival_zenith: Float[Array, ""],
    first: Float[Array, "3"],
    station: Float[Array, "3"],
    user: Float[Array, "3"],
    tolerance: Float[Array, ""],
) -> tuple[Float[Array, "3"], Bool[Array, ""]]:
    """Find the last bounce from the first, the length and the direction of arrival.

    After one bounce it is the first itself, where the ray of arrival meets it within the tolerance.
    After two it lies on that ray so that both outer legs and the way between make up the length.
    After three or more these numbers do not give it, and the two-bounce point stands in.

    Args:
        length: Of the whole path [m].
        arrival_azimuth: At the user [rad].
        arrival_zenith: At the user [rad].
        first: First bounce [m].
        station: Position of the station [m].
        user: Position of the user [m].
        tolerance: Largest miss that still counts as one bounce [m].

    Returns:
        The point [m], and whether it was one bounce.
    """
    ahead = unit_vector(arrival_azimuth, arrival_zenith)
    rest = length - distance(first - station)
    between = first - user
    single = distance(rest * ahead - between) < tolerance
    across = rest - between @ ahead
    safe = jnp.where(jnp.abs(across) > 1e-6, across, 1e-6)
    reach = (rest**2 - between @ between) / (2 * safe)
    reach = jnp.clip(reach, 0.5, jnp.maximum(rest, 1.0))
    return user + jnp.where(single, rest, reach) * ahead, single


def class_error(miss_std: float, tolerance: float) -> float:
    """Give the probability that one bounce is taken for several: the miss beyond the tolerance.

    The miss has two level coordinates of equal error; the length's error along the ray counts as
    one of them, so the squared miss over the variance has a chi-squared law with two degrees.

    Args:
        miss_std: Standard deviation of each coordinate of the miss [m].
        tolerance: As in `last_bounce` [m].
    """
    return math.exp(-0.5 * (tolerance / miss_std) ** 2)


def angle_residual(measured: Float[Array, "5"], predicted: Float[Array, "5"]) -> Float[Array, "5"]:
    """Subtract a prediction from a measurement, all angles wrapped [m, rad]."""
    difference = measured - predicted
    return jnp.concatenate([difference[:1], wrap_angle(difference[1:])])
