"""Whether the sensing channel gives targets the cross-sections that TR 38.901, 7.9.2, promises.

A target turns once about itself while waves come from all heights; what `sense` makes of it goes
back through the radar equation.  So places, turns, patterns and draws are all in what is measured.

Takes names of target types.
Gives rows: the mean and the deviation that the tables state, and those that were met.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_model import RaySet
from echoscape.channel_model.sensing import sense
from echoscape.channel_model.target import make_target
from echoscape.channel_model.target_types import TYPE_NAMES, target_type
from echoscape.propagation import target_gain
from echoscape.scene import PlanarArray
from echoscape.units import wavelength_of

CARRIER = 28e9
_FAR = 1e4  # where waves come from, that all points of a target see one direction [m]


def calibrate_sections(
    names: tuple[str, ...] = TYPE_NAMES[1:],
    heights: int = 48,
    headings: int = 240,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure the mean monostatic cross-section of each type, and what is drawn about it.

    Args:
        names: Types of TR 38.901.
        heights: Zeniths from which waves come, Gaussian nodes of their cosine.
        headings: Directions in which the target looks.
        seed: Of the draws.

    Returns:
        For each type ``promised_mean`` and ``mean`` [dBsm], ``promised_deviation`` and
        ``deviation`` [dB], ``drawn_mean``, the linear mean of what is drawn (promised: 0 dB), and
        ``asymmetry``, the largest relative change when both ends are exchanged.
    """
    cosine, weight = np.polynomial.legendre.leggauss(heights)
    rays = _rays(cosine)
    time = np.arange(headings, dtype=float)
    heading = 2 * np.pi * time / headings
    factor = target_gain(1.0, wavelength_of(CARRIER))
    rows = []
    for name in names:
        kind = target_type(name)
        target = make_target(time, np.zeros((headings, 3)), kind, heading=heading)
        plain = _sections(rays, target, time, None) / factor
        total = plain.sum(axis=1)
        level = np.einsum("tii,i->", total, weight) / (2 * headings)
        drawn = _sections(rays, target, time[:1], jax.random.key(seed)) / factor
        ratio = drawn / plain[:1]
        upper = ratio[:, :, *np.triu_indices(heights)]
        rows.append(
            {
                "type": name,
                "promised_mean": kind.mean_db,
                "mean": float(10 * np.log10(level)),
                "promised_deviation": kind.fluctuation_db,
                "deviation": float(np.std(10 * np.log10(upper))),
                "drawn_mean": float(10 * np.log10(np.mean(upper))),
                "asymmetry": float(np.max(np.abs(total / total.swapaxes(1, 2) - 1))),
                "status": "ok",
            }
        )
    return rows


def _sections(rays, target, time, key) -> np.ndarray:
    """Turn what `sense` made back, by the radar equation: time, point, ray, ray."""
    array = PlanarArray()
    made = sense(rays, rays, [target], jnp.asarray(time), CARRIER, array, array, key=key)
    out, back = (np.asarray(side.power) for side in (made.out, made.back))
    return np.asarray(made.power) / (out[..., :, None] * back[..., None, :])


def _rays(cosine: np.ndarray) -> RaySet:
    """Let waves come from one azimuth and many zeniths, from afar."""
    count = len(cosine)
    point = _FAR * np.stack([np.sqrt(1 - cosine**2), 0 * cosine, cosine], axis=1)
    one = jnp.ones(count)
    return RaySet(
        station=jnp.array([0.0, 0.0, _FAR]),
        point=jnp.asarray(point),
        scattered=jnp.zeros(count, bool),
        rotation=0 * one,
        reflection=one,
        vertical_reflection=one,
        time=jnp.array([0.0, 1.0]),
        gain_db=jnp.zeros((2, count)),
        presence=jnp.ones((2, count)),
    )
