"""Out along one path and back along another: the echoes of a passive target.

A target at x is a virtual user: an echo leaves the base station along path i of those that reach
x and returns along path j.  So L one-way paths make L^2 echoes, whose angles are those of the
one-way paths and whose lengths are sums, Eqs. (27)-(30) of [wu-ckm].  Where the pairing is known,
the L^2 echoes hold no more than L one-way paths with correlated lengths; `one_way_statistics`
recovers those.

Takes the one-way `Paths` to a target, or echoes arranged by pair.
Gives the two-way `Paths`, or `OneWay`.
"""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.numerics import spectrum
from echoscape.propagation.path import Paths


class OneWay(eqx.Module):
    """What echoes of known pairing say about the one-way paths under them.

    Precision, not covariance, so that a path that took part in no echo is simply unknown.
    """

    departure_azimuth: Float[Array, " path"]
    """Mean azimuth, over the circle [rad]."""
    departure_zenith: Float[Array, " path"]
    """Mean zenith angle [rad]."""
    length: Float[Array, " path"]
    """Least-squares one-way length [m]."""
    looks: Float[Array, " path"]
    """Looks at each angle: its variance is that of one echo's angle divided by this."""
    length_precision: Float[Array, "path path"]
    """Inverse covariance of `length`, times the variance of one echo's length; singular where the
    echoes leave a combination open."""


def two_way(paths: Paths, *, target: float, reciprocal: bool = False) -> Paths:
    """Combine the one-way paths of one target into echoes, Eq. (30) of [wu-ckm].

    The power of an echo is the product of both one-way power gains and the target's.

    Args:
        paths: From the base station to the target.
        target: What the target multiplies both gains with, `target_gain` of its cross-section [1].
        reciprocal: Only the echoes that return the way they came, Eq. (5), instead of all
            ordered pairs, Eq. (6).

    Returns:
        Echoes with departure *and* arrival angle at the base station; (i, j) is number
        ``i * paths + j``, or just i for reciprocal ones.
    """
    count = paths.valid.shape[-1]
    index = jnp.arange(count)
    if reciprocal:
        i, j = index, index
    else:
        i, j = jnp.repeat(index, count), jnp.tile(index, count)
    out, back = paths[i], paths[j]
    return Paths(
        gain=math.sqrt(target) * out.gain * back.gain,
        length=out.length + back.length,
        departure_azimuth=out.departure_azimuth,
        departure_zenith=out.departure_zenith,
        arrival_azimuth=back.departure_azimuth,
        arrival_zenith=back.departure_zenith,
        doppler=out.doppler + back.doppler,
        bounces=out.bounces + back.bounces + 1,
        first_bounce=out.first_bounce,
        last_bounce=back.first_bounce,
        identity=(i * count + j).astype(paths.identity.dtype),
        valid=out.valid & back.valid,
    )


def one_way_statistics(
    departure: tuple[Float[Array, "path path"], Float[Array, "path path"]],
    arrival: tuple[Float[Array, "path path"], Float[Array, "path path"]],
    length: Float[Array, "path path"],
    present: Bool[Array, "path path"],
) -> OneWay:
    """Condense echoes of known pairing into the one-way paths under them.

    Lossless for independent errors of one variance: the echoes' log-likelihood minus that of
    these statistics is constant in the target's position.  The azimuth's mean is taken over the
    circle, which agrees with the plain mean for small errors.

    Args:
        departure: (azimuth, zenith) of the echo out along row, back along column [rad].
        arrival: The same at its return [rad].
        length: Out and back [m].
        present: Which echoes were received.

    Returns:
        Statistics; paths without any echo have zero looks and zero values.
    """
    count = length.shape[0]
    weight = present.astype(length.dtype)
    looks = weight.sum(axis=1) + weight.sum(axis=0)
    per_look = 1.0 / jnp.maximum(looks, 1.0)

    def mean(out, back):
        return per_look * ((weight * out).sum(axis=1) + (weight * back).sum(axis=0))

    sine = mean(jnp.sin(departure[0]), jnp.sin(arrival[0]))
    cosine = mean(jnp.cos(departure[0]), jnp.cos(arrival[0]))
    precision = jnp.diag(looks) + weight + weight.T
    # The lengths' size relative to their errors leaves no digits to waste: solve for the
    # deviation from half the mean echo's.
    centre = 0.5 * (weight * length).sum() / jnp.maximum(weight.sum(), 1.0)
    centred = weight * (length - 2 * centre)
    total = centred.sum(axis=1) + centred.sum(axis=0)
    solved = spectrum(precision).covariance @ total
    return OneWay(
        departure_azimuth=jnp.arctan2(sine, jnp.where(looks > 0, cosine, 1.0)),
        departure_zenith=mean(departure[1], arrival[1]),
        length=jnp.where(looks > 0, solved + centre, jnp.zeros(count, length.dtype)),
        looks=looks,
        length_precision=precision,
    )
