"""A network that outputs geometry: virtual anchors and where each is visible, by gradients alone.

The usual network gives angles and delays of a place, which bend and jump over it.  Here every slot
is a virtual anchor, a rotation and a shift that hold everywhere; a network gives its visibility.
Slots start at paths of reports (departure and arrival together fix a rotation, for either
reflection) and learn by the likelihood of the reports' paths as a set.

Takes `Reports` with arrival angles.
Gives a `VirtualAnchorNetworkMap`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pydantic
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map.learned.network import forward
from echoscape.channel_map.learned.visibility_network import (
    LISTED,
    VisibilityNetwork,
    first_layers,
    keep_slots,
    parts_of,
    position_scales,
)
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.prior import PathPrior
from echoscape.channel_map.storage import storable
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.progress import Progress, silent
from echoscape.reports import Reports
from echoscape.scene import PointKind, StaticPoints, isometry, rotation_matrix
from echoscape.units import wrap_angle

_WIDE, _SHARP = 4.0, 0.15
"""Error allowed to an image at the beginning and at the end of training [m]."""
_CLUTTER = -14.0
"""Logarithm of the background's density per cubic metre: about one path in a street of 100 m."""
_FEWEST = 1.5
"""Reports that a slot must explain to be kept: one alone is the report it started from."""
_FEWEST_PATHS = 50
"""Paths with arrival angles below which nothing is learnt."""


@storable("virtual-anchor-network")
class VirtualAnchorNetworkMap(VisibilityNetwork):
    """Virtual anchors, and a network from place to which of them are among the strongest paths."""

    points: StaticPoints
    """Virtual anchors in the site's frame."""
    log_power: Float[AnyArray, " point"]
    """Natural logarithm of the power of the path each point started from."""
    error: Float[AnyArray, ""]
    """Standard deviation of an image, in each coordinate [m]."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        points = jax.tree.map(jnp.asarray, self.points)
        away = isometry(points, position) - jnp.asarray(self.station_position)[None]
        away = away.astype(position.dtype)
        length = jnp.linalg.norm(away, axis=-1)
        level = jnp.maximum(jnp.linalg.norm(away[:, :2], axis=-1), 1.0)
        std = jnp.stack([self.error / level, self.error / length,
                         self.error * jnp.ones_like(length)], axis=-1)  # fmt: skip
        return PathPrior(
            probability=self.visibility(position),
            departure_azimuth=jnp.arctan2(away[:, 1], away[:, 0]),
            departure_zenith=jnp.arccos(jnp.clip(away[:, 2] / length, -1.0, 1.0)),
            length=length,
            covariance=(std**2)[..., None] * jnp.eye(3, dtype=std.dtype)[None],
            power=jnp.exp(jnp.asarray(self.log_power, position.dtype)),
        )

    def static_points(self) -> StaticPoints:
        """Give the virtual anchors, with the error that training ended at."""
        count = len(self.points)
        covariance = np.diag([1.0, 1.0, 1.0, 0.0]) * float(self.error) ** 2
        return dataclasses.replace(
            self.points, covariance=np.tile(covariance, (count, 1, 1)),
            origin=np.zeros(count, dtype=int), provenance=(f"network of {self.station}",),
        )  # fmt: skip


class VirtualAnchorNetwork(MapModel):
    """Virtual anchors and their visibility trained by gradients: needs arrival angles."""

    name: ClassVar[str] = "virtual-anchor-network"

    slots: int = pydantic.Field(default=4000, ge=2)
    """Most points to begin with, in pairs of either reflection, a pair a path."""
    steps: int = pydantic.Field(default=10_000, ge=1)
    """Steps of 64 reports each."""

    def fit(self, reports, *, key, start=None, progress=None) -> VirtualAnchorNetworkMap:
        """Train virtual anchors and their visibility on one station's reports.

        Raises:
            InputError: Too few paths have arrival angles.
        """
        self.refuse_start(start)
        return _fit(reports, self.slots, self.steps, key, progress or silent)


def _fit(
    reports: Reports, slots: int, steps: int, key: PRNGKeyArray, progress: Progress
) -> VirtualAnchorNetworkMap:
    paths, station = reports.estimates, reports.station_position[0]
    power = np.where(paths.valid, np.asarray(paths.power, float), 0.0)
    order = np.argsort(-power, axis=1)[:, :LISTED]
    take = lambda leaf: np.take_along_axis(np.asarray(leaf), order, axis=1)  # noqa: E731
    valid, power = take(paths.valid), take(power)
    azimuth, zenith = take(paths.departure_azimuth), take(paths.departure_zenith)
    out = _unit(azimuth, zenith)
    image = station + take(paths.length)[..., None] * out
    known = valid & np.isfinite(take(paths.arrival_azimuth_std))
    count = int(known.sum())
    if count < _FEWEST_PATHS:
        raise InputError(
            "a network of virtual anchors needs the arrival angles of at least "
            f"{_FEWEST_PATHS} paths; got {count}"
        )
    pick, init, shuffle = jax.random.split(key, 3)
    chosen = jax.random.choice(pick, count, (min(slots // 2, count),), replace=False)
    row, column = (index[np.asarray(chosen)] for index in np.nonzero(known))
    back = _unit(take(paths.arrival_azimuth), take(paths.arrival_zenith))[row, column]
    reflection = np.repeat([1.0, -1.0], len(row))
    row, column, back = np.tile(row, 2), np.tile(column, 2), np.tile(back, (2, 1))
    bearing = np.arctan2(-back[:, 1], -back[:, 0])
    rotation = wrap_angle(azimuth[row, column] - reflection * bearing)
    vertical = np.where(out[row, column, 2] * -back[:, 2] < 0, -1.0, 1.0)
    unshifted = _points(rotation, reflection, vertical, np.zeros((len(row), 3)))
    here, matrix = reports.position[row], rotation_matrix(unshifted)
    moved = np.concatenate(
        [np.einsum("pij,pj->pi", matrix, here[:, :2]), (vertical * here[:, 2])[:, None]], axis=1
    )
    shift = image[row, column] - moved
    log_power = np.log(np.maximum(power[row, column], 1e-30))
    middle, size = position_scales(reports.position)
    small = lambda leaf: jnp.asarray(leaf, jnp.float32)  # noqa: E731
    fixed = small(reflection), small(vertical)
    data = (small((reports.position - middle) / size), small(reports.position), small(image),
            jnp.asarray(valid))  # fmt: skip
    free = (small(rotation), small(shift), *first_layers(len(row), init))
    progress(0, 1, f"training, {steps} steps")
    free, used = _train(free, fixed, data, steps, shuffle)
    rotation, shift, weights, biases = jax.tree.map(np.asarray, free)
    keep = np.asarray(used) > _FEWEST
    weights, biases = keep_slots((weights, biases), keep)
    rotation = wrap_angle(rotation[keep].astype(float))
    return VirtualAnchorNetworkMap(
        points=_points(rotation, reflection[keep], vertical[keep], shift[keep].astype(float)),
        weights=weights,
        biases=biases,
        log_power=log_power[keep],
        position_mean=middle,
        position_scale=size,
        error=np.asarray(2 * _SHARP),
        station_position=station,
        report_position=reports.position,
        station=reports.station[0],
    )


def _points(rotation, reflection, vertical_reflection, shift) -> StaticPoints:
    """Make virtual anchors from their training parameters."""
    kind = np.full(len(reflection), PointKind.VIRTUAL_ANCHOR)
    return StaticPoints(
        kind, rotation, reflection, shift[:, :2], vertical_reflection, shift[:, 2]
    )  # fmt: skip


def _unit(azimuth, zenith) -> np.ndarray:
    level = np.sin(zenith)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.cos(zenith)], axis=-1)


def _train(free, fixed, data, total: int, key):
    """Adam with a falling rate while the error allowed falls; give also how much each slot used."""
    count, batch = len(data[0]), 64
    steps = -(-count // batch)
    epochs = -(-total // steps)
    rate = optax.cosine_decay_schedule(3e-3, total)
    groups = optax.multi_transform(
        {"slow": optax.adam(optax.cosine_decay_schedule(2e-5, total)),
         "place": optax.adam(optax.cosine_decay_schedule(5e-3, total)), "net": optax.adam(rate)},
        ("slow", "place", "net", "net"),
    )  # fmt: skip
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), groups)

    def owners(free, some, error):
        rotation, shift, weights, biases = free
        feature, place, image, valid = some
        reflection, vertical = fixed
        points = _points(rotation, reflection, vertical, shift)
        logit = forward(weights, biases, feature)
        gap = image[:, :, None] - jax.vmap(isometry, in_axes=(None, 0))(points, place)[:, None]
        square = jnp.sum(gap**2, axis=-1) / error**2
        ours = -0.5 * square - 3 * jnp.log(error) - 1.5 * jnp.log(2 * jnp.pi)
        ours = ours + jax.nn.log_sigmoid(logit)[:, None]
        return ours, jax.nn.logsumexp(ours, axis=-1), logit, valid

    def cost(free, some, error):
        _, found, logit, valid = owners(free, some, error)
        explained = jnp.where(valid, -jnp.logaddexp(found, _CLUTTER), 0.0)
        return jnp.mean(jnp.sum(explained, axis=1) + jnp.sum(jax.nn.sigmoid(logit), axis=1))

    def step(carry, row):
        free, moments = carry
        index, number = row
        error = _WIDE * (_SHARP / _WIDE) ** jnp.minimum(number / (0.7 * total), 1.0)
        some = jax.tree.map(lambda leaf: leaf[index], data)
        change, moments = optimiser.update(jax.grad(cost)(free, some, error), moments, free)
        return (optax.apply_updates(free, change), moments), None

    @jax.jit
    def epoch(carry, number, key):
        order = jnp.resize(jax.random.permutation(key, count), (steps, batch))
        return jax.lax.scan(step, carry, (order, number * steps + jnp.arange(steps)))[0]

    carry = (free, optimiser.init(free))
    for number, each in enumerate(jax.random.split(key, epochs)):
        carry = epoch(carry, jnp.asarray(number), each)

    def use(some):
        ours, found, _, valid = owners(carry[0], some, _SHARP)
        share = jnp.exp(ours - jnp.logaddexp(found, _CLUTTER)[..., None])
        return jnp.sum(jnp.where(valid[..., None], share, 0.0), axis=(0, 1))

    return carry[0], sum(jax.jit(use)(part) for part in parts_of(data, count))
