"""How well any estimator can locate a target from the samples themselves.

Unlike the bounds from echoes of stated errors it knows that echoes overlap: the information is
that of all frequencies jointly with all complex gains unknown, carried over by the map's slopes.

Takes a `DirectView`, a position, the gains of the echoes there, the noise.
Gives a covariance [m^2].
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from echoscape.localization.direct.forward import DirectView
from echoscape.numerics import spectrum
from echoscape.numerics.harmonics import frequency_information


@eqx.filter_jit
def sample_bound(
    view: DirectView,
    position: Float[Array, "3"],
    gain: Complex[Array, "out back"],
    noise: float | Float[Array, ""],
) -> Float[Array, "2 2"]:
    """Bound the covariance of any unbiased estimate of (x, y), the height known.

    Eqs. (15)-(17) of [wu-ckm] with the measured angles and delays replaced by the samples, and
    the map's own errors as nuisances of known variance.

    Args:
        view: Maps and tensor.
        position: Where the target is [m].
        gain: Of the echo out along i and back along j, in the view's order of paths.
        noise: Mean squared noise of a sample.
    """
    select = view.select(position)

    def frequencies(point):
        return select.frequencies(position.at[:2].set(point[:2]), point[2:])

    point = jnp.concatenate([position[:2], jnp.zeros(view.errors)])
    slope = jax.jacfwd(frequencies)(point)
    predicted = jnp.where(select.present, gain.ravel(), 0.0)
    known = frequency_information(
        frequencies(point), predicted, view.tensor.shape, noise, select.mix
    )
    matrix = jnp.einsum("eap,eafb,fbq->pq", slope, known, slope)
    nuisance = matrix[2:, 2:] + jnp.eye(view.errors)
    left = matrix[:2, :2] - matrix[:2, 2:] @ jnp.linalg.solve(nuisance, matrix[2:, :2])
    return spectrum(left).covariance
