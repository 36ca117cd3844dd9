"""A user's motion without the jumps of a filter, so that Doppler stays within what it allows.

A filter corrects the position at every instant; a channel that goes through its positions moves in
steps, and every step is a speed that nobody walked, power at Doppler shifts beyond v / wavelength.
White acceleration of spectral density q leaves between a step and the mean of the velocities at
its ends a deviation of ``q sqrt(step^3 / 12)``: what lies far beyond it is no motion.  Smoothing
by what came later (Rauch-Tung-Striebel) gives positions and velocities between which the cubic of
`move` is the mean motion itself.

Takes a `Motion`, its covariance and q.
Gives a `Motion` that jumps nowhere, or one sentence.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.channel_model.ray import Motion
from echoscape.checks import InputError

FARTHEST = 5.0
"""Deviations of a step beyond which it is a jump [1]."""
ACCELERATION = (0.4, 0.4, 0.02)
"""Density of a user's acceleration where nothing else is known [m/s^2/sqrt(Hz)]."""


def jump_speeds(
    motion: Motion, acceleration: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Measure what each step moves beyond the velocities at its ends, and how much it may [m/s].

    Args:
        motion: The motion.
        acceleration: Spectral density of each coordinate's acceleration [m/s^2/sqrt(Hz)].
    """
    time, place, speed = (np.asarray(each) for each in
                          (motion.time, motion.position, motion.velocity))  # fmt: skip
    step = np.diff(time)[:, None]
    beyond = np.diff(place, axis=0) / step - 0.5 * (speed[1:] + speed[:-1])
    allowed = np.linalg.norm(acceleration) * np.sqrt(step[:, 0] / 12)
    return np.linalg.norm(beyond, axis=1), FARTHEST * allowed


def settle(
    motion: Motion,
    covariance: Float[np.ndarray, "instant 6 6"] | None,
    source: str,
    acceleration: Float[np.ndarray, "3"] | None = None,
) -> Motion:
    """Leave a motion without jumps as it is, smooth another, or refuse what stays in jumps.

    Args:
        motion: As a table has it.
        covariance: Of position and velocity, as a filter claims it [m^2, m^2/s, m^2/s^2].
        source: Where it came from, for messages.
        acceleration: As for `jump_speeds`.

    Raises:
        InputError: It jumps, and there is no covariance, or smoothing does not help.
    """
    density = np.asarray(ACCELERATION if acceleration is None else acceleration, float)
    beyond, allowed = jump_speeds(motion, density)
    if np.all(beyond <= allowed):
        return motion
    if covariance is not None:
        motion = smooth_motion(motion, covariance, density)
        beyond, allowed = jump_speeds(motion, density)
        if np.all(beyond <= allowed):
            return motion
    k = int(np.argmax(beyond - allowed))
    begin, end = np.asarray(motion.time)[k : k + 2]
    raise InputError(
        f"{source} jumps between {begin:g} and {end:g} s, {beyond[k]:.3g} m/s beyond its own "
        f"velocities, which would be Doppler of no motion; write it by echoscape track --smooth, "
        "or give --times without that step"
    )


def smooth_motion(
    motion: Motion, covariance: Float[np.ndarray, "instant 6 6"], acceleration: np.ndarray
) -> Motion:
    """Correct every instant by those after it, as if a filter at constant velocity had run.

    Args:
        motion: Filtered positions and velocities.
        covariance: Their covariance.
        acceleration: As for `jump_speeds`.
    """
    time = np.asarray(motion.time)
    mean = np.concatenate([np.asarray(motion.position), np.asarray(motion.velocity)], axis=1)
    ahead, spread = mean[-1], covariance[-1]
    found = mean.copy()
    for k in range(len(time) - 2, -1, -1):
        step = time[k + 1] - time[k]
        forward = np.kron(np.array([[1.0, step], [0.0, 1.0]]), np.eye(3))
        push = np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        predicted = forward @ covariance[k] @ forward.T + np.kron(push, np.diag(acceleration**2))
        gain = np.linalg.solve(predicted, forward @ covariance[k]).T
        ahead = mean[k] + gain @ (ahead - forward @ mean[k])
        spread = covariance[k] + gain @ (spread - predicted) @ gain.T
        found[k] = ahead
    return Motion(motion.time, jnp.asarray(found[:, :3]), jnp.asarray(found[:, 3:]))
