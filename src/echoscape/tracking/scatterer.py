"""Image or scatterer: what a path comes from, tested by how it changes as the user walks.

A path of one bounce leaves and arrives as if a point where both directions meet scattered it.  That
point stands still if it is a scatterer, and slides if it is a reflection, whose image stands still
instead.  So each slot carries, beside its anchor, the point that would explain it, filtered by
itself; the two are compared by how well each predicts the next detection.

Takes a `JointState` and the detections that belong to its slots.
Gives the state, in which slots that are scatterers are such.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.numerics.kalman import Gaussian, condition
from echoscape.numerics.small import mahalanobis
from echoscape.tracking.anchor import AnchorType, array_station, path_residual, predict_path
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    CLOCK,
    HEADING,
    NEVER,
    PER_SLOT,
    STATION_HEADING,
    JointState,
    set_coordinates,
)
from echoscape.tracking.joint_update import Detections, Match, residual_mean

_LEAST = 0.5  # a path longer than the direct one by less tells no point [m]
_MOST = 3.0  # what one detection may say for or against [nat]
_KNOWN = 0.5  # level deviation of a user from whose place points can be judged [m]
_LEAVING = np.array([0, 3, 4])  # length and departure among `MEASURED`
_WANDER = 0.05  # how far a scatterer's centre may wander between epochs [m/sqrt(s)]


def place_point(
    measured: Float[Array, "5"],
    std: Float[Array, "5"],
    user: Float[Array, "3"],
    user_covariance: Float[Array, "3 3"],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> tuple[Float[Array, "3"], Float[Array, "3 3"], Float[Array, ""]]:
    """Place the point on the ray of departure that gives a path its length.

    Returns:
        The point [m], its covariance, and the log-odds that something scatters there: the prior's,
        less what the directions of departure and arrival miss one another by.
    """
    given = measured[_LEAVING]
    point = _on_ray(given, user, station)
    by_given, by_user = jax.jacfwd(_on_ray, (0, 1))(given, user, station)
    noise = std[_LEAVING] ** 2
    covariance = (by_given * noise[None]) @ by_given.T + by_user @ user_covariance @ by_user.T
    predicted, by_point, by_place = _predict(point, user, station)
    residual = path_residual(measured, predicted)[1:3]
    # the user moves the point too, so both act together
    slope = by_point @ by_user + by_place
    spread = by_point @ (by_given * noise[None]) @ by_given.T @ by_point.T
    inner = (spread + slope @ user_covariance @ slope.T)[1:3, 1:3] + jnp.diag(std[1:3] ** 2)
    squared, _ = mahalanobis(residual, inner)
    prior = jnp.log(settings.scatterers) - jnp.log1p(-settings.scatterers)
    odds = prior - 0.5 * squared
    unclear = measured[0] - jnp.linalg.norm(user - station) < _LEAST
    return point, covariance, jnp.where(unclear, NEVER, jnp.maximum(odds, NEVER))


def _on_ray(given, user, station):
    """Find the point on the ray of departure that makes a path as long as it is."""
    length, azimuth, zenith = given
    across = jnp.sin(zenith)
    ahead = jnp.stack([across * jnp.cos(azimuth), across * jnp.sin(azimuth), jnp.cos(zenith)])
    toward = user - station
    rest = jnp.maximum(length - toward @ ahead, 0.1)
    reach = jnp.maximum(length**2 - toward @ toward, 0.1) / (2 * rest)
    return station + reach * ahead


def compare_scatterers(
    state: JointState,
    seen: Detections,
    match: Match,
    station: Float[Array, "3"],
    settings: JointFilter,
) -> tuple[JointState, Match]:
    """Take detections in under the other hypothesis, and make scatterers of what they speak for."""
    slots = state.slots
    imaged = (slots.kind != AnchorType.STATION) & (slots.kind != AnchorType.SCATTERER)
    open_ = (match.detection >= 0) & imaged & (slots.scatter_odds > -12.0)

    def compare(state, match):
        return _compare(open_, state, seen, match, station, settings)

    return jax.lax.cond(open_.any(), compare, lambda *same: same, state, match)


def _compare(
    open_: Bool[Array, " slot"],
    state: JointState,
    seen: Detections,
    match: Match,
    station: Float[Array, "3"],
    settings: JointFilter,
) -> tuple[JointState, Match]:
    """Compare both hypotheses in the slots that are open to it."""
    slots = state.slots
    which = jnp.maximum(match.detection, 0)
    update = jax.vmap(_take_in, (0, 0, 0, 0, None, None, None, None))
    # clock and headings as they are believed; where they are not known well, nothing is decided
    heading = state.mean[HEADING] + state.mean[STATION_HEADING]
    correction = jnp.zeros(5).at[0].set(state.mean[CLOCK]).at[3].set(heading)
    here = array_station(station, state.pivot, state.mean[HEADING])
    loose = jnp.sqrt(jnp.diagonal(state.covariance))
    settled = (loose[CLOCK] < 0.3) & (loose[HEADING] + loose[STATION_HEADING] < 0.01)
    settled = settled & (loose[0] ** 2 + loose[1] ** 2 < _KNOWN**2)
    point, covariance, density = update(
        slots.point, slots.point_covariance, seen.measured[which] - correction[None],
        seen.std[which],
        state.mean[:3], state.covariance[:3, :3], here, state.step,
    )  # fmt: skip
    gain = jnp.clip(density - match.log_likelihood, -_MOST, _MOST)
    odds = jnp.where(open_ & settled, slots.scatter_odds + gain, slots.scatter_odds)
    point = jnp.where(open_[:, None], point, slots.point)
    covariance = jnp.where(open_[:, None, None], covariance, slots.point_covariance)
    # an image about to be let go is a scatterer on less, rather than nothing
    _, squared_mean = residual_mean(
        state, match, settings, jnp.asarray(settings.residual_mean_weight)
    )
    failing = (squared_mean > 0.5 * settings.residual_mean_gate) & (odds > 1.0)
    found = open_ & ((odds > settings.scattered) | failing)

    def move(state):
        count = slots.kind.shape[0]
        rotation = jnp.zeros((count, 1))
        spread = jnp.zeros((count, PER_SLOT, PER_SLOT)).at[:, :3, :3].set(covariance)
        # the point was placed from where the user was believed to be, so it shares the user's error
        by_user = jax.vmap(jax.jacfwd(_on_ray, 1), (0, None, None))(
            (seen.measured[which] - correction[None])[:, _LEAVING], state.mean[:3], here
        )
        from_shared = jnp.zeros((count, PER_SLOT, 6)).at[:, :3, :3].set(by_user)
        place = jnp.concatenate([point, rotation], axis=1)
        return set_coordinates(state, found, place, from_shared, spread.at[:, 3, 3].set(1.0))

    state = jax.lax.cond(found.any(), move, lambda state: state, state)
    new = eqx.tree_at(
        lambda s: (s.point, s.point_covariance, s.scatter_odds, s.kind, s.residual_mean),
        slots,
        (point, covariance, odds, jnp.where(found, int(AnchorType.SCATTERER), slots.kind),
         jnp.where(found[:, None], 0.0, slots.residual_mean)),
    )  # fmt: skip
    state = eqx.tree_at(lambda s: s.slots, state, new)
    # what a slot's residual was as an image says nothing of it as a scatterer
    residual = jnp.where(found[:, None], 0.0, match.residual)
    distance = jnp.where(found, 0.0, match.distance)
    return state, eqx.tree_at(lambda m: (m.residual, m.distance), match, (residual, distance))


def _predict(point, user, station):
    """Predict a scattered path, with its derivatives by the point and by the user."""

    def measure(point, user):
        local = jnp.concatenate([user, point, jnp.zeros(1)])
        one = jnp.array(1.0)
        return predict_path(local, jnp.array(int(AnchorType.SCATTERER)), one, one, station)

    by_point, by_user = jax.jacfwd(measure, (0, 1))(point, user)
    return measure(point, user), by_point, by_user


def _take_in(point, covariance, measured, std, user, user_covariance, station, step):
    """Condition a point on a detection; also gives how likely that was [nat]."""
    predicted, by_point, by_user = _predict(point, user, station)
    residual = path_residual(measured, predicted)
    covariance = covariance + step * _WANDER**2 * jnp.eye(3)
    inner = by_point @ covariance @ by_point.T + by_user @ user_covariance @ by_user.T
    inner = inner + jnp.diag(std**2)
    squared, log_determinant = mahalanobis(residual, inner)
    density = -0.5 * (squared + log_determinant + 5 * math.log(2 * math.pi))
    belief = condition(Gaussian(point, covariance), residual, inner, by_point @ covariance)
    return belief.mean, belief.covariance, density
