"""What a few later instants teach about an earlier one: the user's track smoothed, with a lag.

A filter's velocity lags and trembles, which Doppler shows; a second later both can be corrected.
The user is smoothed by itself, as if its filtered belief came from a filter of its own: what the
points remember of earlier errors is left out, so slow drifts stay as they were and only the
motion gets better; `joint_smoother` corrects both, with the whole walk at hand.

Takes a `Record`.
Gives the user's positions and velocities, with covariance.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.numerics.kalman import Gaussian, fixed_lag, predict
from echoscape.tracking.filters import JointFilter


@eqx.filter_jit
def smooth_user(
    mean: Float[Array, "time 6"],
    covariance: Float[Array, "time 6 6"],
    time: Float[Array, " time"],
    settings: JointFilter,
    lag: int,
) -> tuple[Float[Array, "time 6"], Float[Array, "time 6 6"]]:
    """Smooth a user's filtered track with the instants that follow.

    Args:
        mean: Filtered positions and velocities [m, m/s].
        covariance: Their covariance.
        time: When [s].
        settings: The motion that the filter assumed.
        lag: How many instants may correct an earlier one.
    """
    density = (
        jnp.array([settings.acceleration, settings.acceleration, settings.vertical_acceleration])
        ** 2
    )

    def onward(filtered, step):
        one = jnp.array([[1.0, 0.0], [0.0, 1.0]]).at[0, 1].set(step)
        push = jnp.stack([jnp.stack([step**3 / 3, step**2 / 2]), jnp.stack([step**2 / 2, step])])
        forward = jnp.kron(one, jnp.eye(3))
        return predict(filtered, forward, jnp.kron(push, jnp.diag(density))), forward

    filtered = Gaussian(mean, covariance)
    before = Gaussian(mean[:-1], covariance[:-1])
    predicted, forward = jax.vmap(onward)(before, jnp.diff(time))
    found = fixed_lag(filtered, predicted, forward, lag)
    return found.mean, found.covariance
