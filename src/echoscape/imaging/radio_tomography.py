"""Where someone stands, from how much weaker the links between radio nodes become.

A person on or near the line between two nodes takes power off that link.  Each pixel of a plane
stands for a body about it, and weighs on the links near whose line it lies; what takes power off
is never negative and stands in few pixels, which is a `BernoulliExponential` prior, and message
passing does the rest.

Takes the nodes' places, and by how much each link is weaker than when nobody was there.
Gives pictures of attenuation, and the place of the strongest part of each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from echoscape.checks import InputError
from echoscape.numerics.denoisers import BernoulliExponential
from echoscape.numerics.message_passing import MessageSettings, gamp


class Plane(NamedTuple):
    """Pixels over the places of nodes, and how each weighs on each link."""

    pixel: Float[np.ndarray, "pixel 2"]
    """Their centres [m]."""
    weight: Float[np.ndarray, "link pixel"]
    """How many decibels a unit of attenuation takes off each link [1]."""


def make_plane(
    node: Float[np.ndarray, "node 2"],
    link: Int[np.ndarray, "link 2"],
    *,
    edge: float = 0.4,
    detour: float = 0.1,
    body: float = 1.1,
) -> Plane:
    """Cut the rectangle around the nodes into pixels, and weigh them on the links.

    A pixel weighs on a link if the way by it is longer by less than the detour, and the less the
    longer the link is: one over the root of its length.

    Args:
        node: Where the nodes are [m].
        link: Indices of the two nodes of each link.
        edge: Of a pixel [m].
        detour: Extra length at which a pixel weighs a third of one on the line [m].
        body: Width of what attenuates, the standard deviation of a Gaussian about a pixel [m].
    """
    if not (edge > 0 and detour > 0 and body > 0):
        raise InputError(
            f"edge, detour and body must be above zero, in m; got {edge:g}, {detour:g} and {body:g}"
        )
    low, high = node.min(0), node.max(0)
    counts = np.maximum(np.ceil((high - low) / edge).astype(int), 1)
    axes = [low[i] + edge * (np.arange(counts[i]) + 0.5) for i in range(2)]
    pixel = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    distance = np.linalg.norm(pixel[None] - node[:, None], axis=-1)
    length = np.linalg.norm(node[link[:, 0]] - node[link[:, 1]], axis=-1)
    if np.any(length == 0):
        raise InputError("a link needs two nodes at different places; leave out those of one")
    extra = distance[link[:, 0]] + distance[link[:, 1]] - length[:, None]
    # Smooth over the detour: hard edges of an ellipse would move with the pixels.
    weight = np.exp(-extra / detour) / np.sqrt(length[:, None])
    across = np.sum((pixel[:, None] - pixel[None]) ** 2, -1)
    spread = np.exp(-0.5 * across / body**2)
    return Plane(pixel, weight @ (spread / spread.sum(1, keepdims=True)))


def image_attenuation(
    plane: Plane,
    weaker: Float[np.ndarray, "time link"],
    noise: float,
    *,
    rate: float = 0.003,
    scale: float = 1.5,
    iterations: int = 80,
) -> Float[np.ndarray, "time pixel"]:
    """Image the attenuation at each instant by message passing.

    Args:
        plane: Pixels and links.
        weaker: By how much each link is weaker than when nobody was there [dB].
        noise: Variance of these [dB^2].
        rate: Share of pixels that attenuate.
        scale: Mean attenuation of those [dB].
        iterations: The most iterations.
    """
    if weaker.shape[1:] != plane.weight.shape[:1]:
        raise InputError(
            f"needs {len(plane.weight)} links at each instant; got an array {weaker.shape}"
        )
    if not np.all(np.isfinite(weaker)):
        raise InputError(
            "attenuation must be finite numbers, in dB; fill in links that are missing"
        )
    if not noise > 0:
        raise InputError(f"noise must be above zero, in dB^2; got {noise:g}")
    norm = np.sqrt(np.mean(np.sum(plane.weight**2, 0)))
    matrix = jnp.asarray(plane.weight / norm, float)
    prior = BernoulliExponential(jnp.asarray(rate, float), jnp.asarray(scale * norm, float))
    settings = MessageSettings(iterations=iterations, step=0.3, adaptive=False, tolerance=1e-4)

    def one(row: Array) -> Array:
        return gamp(row, matrix, prior, jnp.asarray(noise, float), settings).posterior.mean

    # A link that became stronger did so by reflection, and tells nothing of what stands on it.
    found = jax.lax.map(one, jnp.asarray(np.maximum(weaker, 0), float), batch_size=64)
    # What the prior expects of a pixel that no link crosses is no attenuation seen there.
    return (np.asarray(found) - float(prior.moments()[0])) / norm


def strongest_place(
    plane: Plane, picture: Float[np.ndarray, "time pixel"], *, width: float = 0.6
) -> Float[np.ndarray, "time 2"]:
    """Find the middle of the strongest part of each picture.

    Args:
        plane: Pixels.
        picture: Attenuation.
        width: Standard deviation over which it is smoothed, and averaged around its peak [m].
    """
    distance = np.linalg.norm(plane.pixel[:, None] - plane.pixel[None], axis=-1)
    near = np.exp(-0.5 * (distance / width) ** 2)
    picture = np.maximum(picture, 0)  # negative ones would favour the margin, where sums are short
    peak = np.argmax(picture @ near, axis=1)
    mass = picture * near[peak] + 1e-12 * near[peak]
    return mass @ plane.pixel / mass.sum(1, keepdims=True)
