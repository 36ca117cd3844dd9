"""Communication from the same map: which beams serve a user at a place, and the channel to expect.

A map predicts paths with their uncertainty; integrated over the user's own uncertainty they give
the channel's covariance before any pilot was sent, ``R = sum_l p_l g_l E[a a^H]``, and from it the
power to expect on every beam, ``w^H R w``.  The best few are tried instead of the whole codebook
(Eq. (20) of [wu-ckm], with its integral taken by quadrature).

Paths add in power, in predictions and in truth: their phases change within a fraction of a
wavelength, which no map resolves.

Takes a `ChannelMap`, places with their errors, an array and its codebook.
Gives orders of beams, covariances, and scores against what reports measured.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.prior import PathPrior
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.reports import Reports
from echoscape.scene.antenna import PlanarArray
from echoscape.scene.direction import angles_of, unit_vector

Codebook = Complex[AnyArray, "beam element"]


def prior_near(
    predict: Callable[[Float[Array, "3"]], PathPrior],
    position: Float[Array, "3"],
    position_std: Float[Array, ""],
) -> PathPrior:
    """Predict the paths of a user near a position: one slot per path and point of the quadrature.

    Args:
        predict: A `ChannelMap`, or anything that predicts paths at one position.
        position: Estimated position of the user [m].
        position_std: Standard deviation of each horizontal coordinate [m].
    """
    # Gauss-Hermite with three points an axis: exact up to the fifth power of the error.
    east, north = np.meshgrid(np.sqrt(3.0) * np.array([-1, 0, 1]), [-1, 0, 1], indexing="ij")
    nodes = np.stack([east, np.sqrt(3.0) * north, 0.0 * east], axis=-1).reshape(9, 3)
    weight = np.outer([1, 4, 1], [1, 4, 1]).ravel() / 36
    dtype = position.dtype
    prior = jax.vmap(predict)(position[None] + position_std * jnp.asarray(nodes, dtype))
    probability = jnp.asarray(weight, dtype)[:, None] * prior.probability
    prior = eqx.tree_at(lambda item: item.probability, prior, probability)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), prior)


def expected_covariance(prior: PathPrior, array: PlanarArray) -> Complex[Array, "element element"]:
    """Expect the covariance of the channel at a place whose paths are known this well."""
    steering, weight = _weighted_steering(prior, array)
    return (steering.T * weight[None]) @ jnp.conj(steering)


def expected_powers(
    prior: PathPrior, array: PlanarArray, codebook: Codebook
) -> Float[Array, " beam"]:
    """Expect each beam's power gain, ``w^H R w``, without forming the covariance."""
    steering, weight = _weighted_steering(prior, array)
    response = jnp.conj(jnp.asarray(codebook, steering.dtype)) @ steering.T
    return (jnp.real(response) ** 2 + jnp.imag(response) ** 2) @ weight


def _weighted_steering(
    prior: PathPrior, array: PlanarArray
) -> tuple[Complex[Array, "direction element"], Float[Array, " direction"]]:
    """Steer at thirty directions about each path, which share its expected power.

    In azimuth half a deviation apart, in zenith one deviation up and down: what lies between them
    must not count as impossible, though a large array's beam is narrower than the uncertainty.
    """
    covariance = prior.covariance
    floor = jnp.finfo(covariance.dtype).tiny
    across = jnp.sqrt(jnp.maximum(covariance[:, 0, 0], floor))
    joint = covariance[:, 0, 1] / across
    down = jnp.sqrt(jnp.maximum(covariance[:, 1, 1] - joint**2, 0.0))
    step = 0.5 * np.arange(-7, 8)  # the trapezoidal rule, which a Gaussian makes exact
    density = np.exp(-0.5 * step**2)
    in_azimuth = jnp.asarray(np.tile(step, 2), across.dtype)[:, None]
    alone = jnp.asarray(np.repeat([1.0, -1.0], len(step)), across.dtype)[:, None]
    share = jnp.asarray(np.tile(density / density.sum() / 2, 2), across.dtype)[:, None]
    azimuth = jnp.asarray(prior.departure_azimuth)[None] + in_azimuth * across[None]
    zenith = (
        jnp.asarray(prior.departure_zenith)[None] + in_azimuth * joint[None] + alone * down[None]
    )
    weight = (share * (prior.probability * prior.power)[None]).ravel()
    return _steer(array, azimuth.ravel(), zenith.ravel()), weight


def _steer(
    array: PlanarArray, azimuth: Float[Array, " direction"], zenith: Float[Array, " direction"]
) -> Complex[Array, "direction element"]:
    """Phase the elements for many directions, in the precision of the directions."""
    elements = array.positions().astype(azimuth.dtype)
    return jnp.exp(2j * jnp.pi * (unit_vector(azimuth, zenith) @ elements.T))


def rank_beams(
    predict: Callable[[Float[Array, "3"]], PathPrior],
    position: Float[Array, "user 3"],
    position_std: Float[Array, " user"],
    array: PlanarArray,
    codebook: Codebook,
) -> Int[Array, "user beam"]:
    """Order the beams for users at these positions, the most promising first.

    Memory grows with a chunk of eight users, not with their number.

    Args:
        predict: A `ChannelMap`, or anything that predicts paths at one position.
        position: Estimated positions of the users [m].
        position_std: Standard deviation of each horizontal coordinate [m].
        array: The base station's array.
        codebook: Beams, as `scene.antenna.dft_codebook` makes them.
    """

    def one_user(place):
        # Single precision is ample for an order, and twice as fast.
        prior = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), prior_near(predict, *place))
        return jnp.argsort(-expected_powers(prior, array, codebook))

    return jax.jit(lambda *places: jax.lax.map(one_user, places, batch_size=8))(
        position, position_std
    )


def straight_line(
    station_position: Float[AnyArray, "3"],
) -> Callable[[Float[Array, "3"]], PathPrior]:
    """Predict the direct path alone: what one can do without a map."""

    def predict(position: Float[Array, "3"]) -> PathPrior:
        away = position - jnp.asarray(station_position, position.dtype)
        azimuth, zenith = angles_of(away)
        one = jnp.ones(1, position.dtype)
        return PathPrior(
            probability=one,
            departure_azimuth=azimuth[None],
            departure_zenith=zenith[None],
            length=jnp.linalg.norm(away)[None],
            covariance=jnp.zeros((1, 3, 3), position.dtype),
            power=one,
        )

    return predict


def measured_powers(
    paths: PathEstimates, array: PlanarArray, codebook: Codebook
) -> Float[Array, "user beam"]:
    """Measure each beam's power gain from the paths that users report: the exhaustive search."""
    codebook = jnp.conj(jnp.asarray(codebook))

    def one_user(user):
        azimuth, zenith, power = user
        return jnp.abs(codebook @ _steer(array, azimuth, zenith).T) ** 2 @ power

    return jax.lax.map(
        one_user,
        (
            jnp.asarray(paths.departure_azimuth),
            jnp.asarray(paths.departure_zenith),
            jnp.where(paths.valid, jnp.asarray(paths.power), 0.0),
        ),
        batch_size=64,
    )


def rank_like_nearest(
    reports: Reports,
    position: Float[np.ndarray, "user 3"],
    array: PlanarArray,
    codebook: Codebook,
) -> Int[np.ndarray, "user beam"]:
    """Order the beams as they were best for the nearest report that had a path."""
    served = np.flatnonzero(reports.estimates.valid.any(axis=-1))
    nearest = served[KDTree(reports.position[served]).query(np.asarray(position))[1]]
    measured = measured_powers(reports.estimates[nearest], array, codebook)
    return np.argsort(-np.asarray(measured), axis=-1, kind="stable")


class BeamScore(eqx.Module):
    """How well an order of beams serves, when only its first few are tried."""

    tried: tuple[int, ...] = eqx.field(static=True)
    """How many beams are tried."""
    found: Float[np.ndarray, " tried"]
    """Share of users whose best beam is among them."""
    loss: Float[np.ndarray, " tried"]
    """Power lost against the exhaustive search, mean over users [dB]."""
    loss_90: Float[np.ndarray, " tried"]
    """Power lost, 90th percentile over users [dB]."""
    saved: Float[np.ndarray, " tried"]
    """Share of the exhaustive search's pilots that is saved."""
    users: int = eqx.field(static=True)
    """Users scored; those without any path are left out."""


def score_beams(
    order: Int[AnyArray, "user beam"],
    power: Float[AnyArray, "user beam"],
    tried: tuple[int, ...] = (1, 3, 5),
) -> BeamScore:
    """Score an order of beams against the power that each beam really has.

    Args:
        order: Beams in the order they would be tried.
        power: Power gain of every beam, from `measured_powers`.
        tried: How many of the first beams are tried.

    Raises:
        ValueError: More beams are to be tried than there are, or no user has a path.
    """
    order, power = np.asarray(order), np.asarray(power)
    if not all(1 <= count <= order.shape[1] for count in tried):
        raise ValueError(f"can try 1 to {order.shape[1]} beams; got {tried}")
    served: Bool[np.ndarray, " user"] = power.max(axis=1) > 0
    if not served.any():
        raise ValueError("no user has a path, so no beam can be scored")
    order, power = order[served], power[served]
    in_order = np.take_along_axis(power, order, axis=1)
    best = power.max(axis=1)
    reached = np.stack([in_order[:, :count].max(axis=1) for count in tried], axis=-1)
    lost = 10 * np.log10(best[:, None] / np.maximum(reached, best[:, None] * 1e-12))
    return BeamScore(
        tried=tuple(tried),
        found=np.mean(reached >= best[:, None] * (1 - 1e-9), axis=0),
        loss=lost.mean(axis=0),
        loss_90=np.quantile(lost, 0.9, axis=0),
        saved=1.0 - np.asarray(tried) / order.shape[1],
        users=int(served.sum()),
    )
