"""A network that outputs geometry: anchors and who sees them, trained by gradients alone.

The usual network gives angles and delays of a place, which bend and jump over it.  Here every slot
is an image of the station, two numbers of a rotation and a shift, that holds everywhere; a network
says where it is seen.  Slots start at paths of reports (departure and arrival together fix a
rotation, for either handedness) and learn by the likelihood of the reports' paths as a set.

Takes `Reports` with arrival angles.
Gives a `VirtualAnchorNetwork`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map import ChannelMap, PathPrior
from echoscape.channel_map.learned.network import forward
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.reports import Reports
from echoscape.units import wrap_angle

LISTED = 5
"""Strongest paths of a report that are learnt."""
_WIDE, _SHARP = 4.0, 0.15
"""Error allowed to an image at the beginning and at the end of training [m]."""
_CLUTTER = -14.0  # logarithm of the background's density per cubic metre
_FEWEST = 1.5  # reports that a slot must explain to be kept
_FEWEST_PATHS = 50


class Anchors(eqx.Module):
    """Images of the station: what carries a user's place to where the station sees him."""

    turn: Float[AnyArray, " slot"]
    """Rotation about z [rad]."""
    hand: Float[AnyArray, " slot"]
    """-1 after an odd number of walls, else 1."""
    flip: Float[AnyArray, " slot"]
    """-1 after an odd number of ground bounces, else 1."""
    shift: Float[AnyArray, "slot 3"]
    """Where the origin goes [m]."""

    def image(self, place: Float[Array, "3"]) -> Float[Array, "slot 3"]:
        """See a user at a place through every anchor."""
        cos, sin = jnp.cos(self.turn), jnp.sin(self.turn)
        x, y, z = place
        east, north = cos * x - self.hand * sin * y, sin * x + self.hand * cos * y
        return jnp.stack([east, north, self.flip * z], axis=-1) + self.shift


class VirtualAnchorNetwork(ChannelMap):
    """Anchors, and a network from place to which of them are among the strongest paths."""

    anchors: Anchors
    weights: tuple[Float[AnyArray, "_ _"], ...]
    biases: tuple[Float[AnyArray, " _"], ...]
    log_power: Float[AnyArray, " slot"]
    middle: Float[AnyArray, "3"]
    size: Float[AnyArray, "3"]
    error: Float[AnyArray, ""]
    """Of an image, in each coordinate [m]."""
    station_position: Float[AnyArray, "3"]
    report_position: Float[AnyArray, "report 3"]
    station: str = eqx.field(static=True)

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        anchors = jax.tree.map(lambda leaf: jnp.asarray(leaf, position.dtype), self.anchors)
        features = ((position - self.middle) / self.size).astype(jnp.float32)
        weights, biases = jax.tree.map(jnp.asarray, (self.weights, self.biases))
        presence = forward(weights, biases, features).astype(position.dtype)
        away = anchors.image(position) - jnp.asarray(self.station_position)[None]
        length = jnp.linalg.norm(away, axis=-1)
        level = jnp.maximum(jnp.linalg.norm(away[:, :2], axis=-1), 1.0)
        std = jnp.stack([self.error / level, self.error / length,
                         self.error * jnp.ones_like(length)], axis=-1)  # fmt: skip
        return PathPrior(
            probability=jax.nn.sigmoid(presence),
            departure_azimuth=jnp.arctan2(away[:, 1], away[:, 0]),
            departure_zenith=jnp.arccos(jnp.clip(away[:, 2] / length, -1.0, 1.0)),
            length=length,
            covariance=(std**2)[..., None] * jnp.eye(3, dtype=std.dtype)[None],
            power=jnp.exp(jnp.asarray(self.log_power, position.dtype)),
        )


def fit_geometry_network(
    reports: Reports, *, slots: int = 4000, steps: int = 10_000, key: PRNGKeyArray
) -> VirtualAnchorNetwork:
    """Train anchors and their visibility on one station's reports.

    Args:
        reports: With arrival angles.
        slots: Most anchors to begin with, in pairs of either handedness, a pair a path.
        steps: Steps of 64 reports each.
        key: Which paths the slots start at, and the order of the reports.

    Raises:
        InputError: Too few paths have arrival angles.
    """
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
            f"a geometry network needs the arrival angles of at least {_FEWEST_PATHS} paths; got "
            f"{count}"
        )
    pick, init, shuffle = jax.random.split(key, 3)
    chosen = jax.random.choice(pick, count, (min(slots // 2, count),), replace=False)
    row, column = (index[np.asarray(chosen)] for index in np.nonzero(known))
    back = _unit(take(paths.arrival_azimuth), take(paths.arrival_zenith))[row, column]
    hand = np.repeat([1.0, -1.0], len(row))
    row, column, back = np.tile(row, 2), np.tile(column, 2), np.tile(back, (2, 1))
    bearing = np.arctan2(-back[:, 1], -back[:, 0])
    turn = wrap_angle(azimuth[row, column] - hand * bearing)
    flip = np.where(out[row, column, 2] * -back[:, 2] < 0, -1.0, 1.0)
    start = Anchors(turn, hand, flip, np.zeros((len(row), 3)))
    moved = jax.vmap(Anchors.image)(jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], start),
                                    jnp.asarray(reports.position[row]))[:, 0]  # fmt: skip
    shift = image[row, column] - np.asarray(moved)
    log_power = np.log(np.maximum(power[row, column], 1e-30))
    middle, size = reports.position.mean(0), reports.position.std(0)
    size = np.where(size > 0.1, size, np.inf)
    sizes = (3, 128, 256, len(row))
    parts = [
        (6.0 / a) ** 0.5 * jax.random.uniform(k, (a, b), jnp.float32, -1.0, 1.0)
        for a, b, k in zip(sizes, sizes[1:], jax.random.split(init, 3))
    ]
    parts[-1] = 0.05 * parts[-1]
    biases = [jnp.zeros(b, jnp.float32) for b in sizes[1:-1]]
    biases.append(jnp.full(len(row), np.log(LISTED / len(row)), jnp.float32))
    small = lambda leaf: jnp.asarray(leaf, jnp.float32)  # noqa: E731
    fixed = Anchors(small(turn), small(hand), small(flip), small(shift))
    data = (small((reports.position - middle) / size), small(reports.position), small(image),
            jnp.asarray(valid))  # fmt: skip
    free = (fixed.turn, fixed.shift, tuple(parts), tuple(biases))
    free, used = _train(free, fixed, data, steps, shuffle)
    turn, shift, weights, biases = jax.tree.map(np.asarray, free)
    keep = np.asarray(used) > _FEWEST
    kept = Anchors(turn[keep].astype(float), hand[keep], flip[keep], shift[keep].astype(float))
    return VirtualAnchorNetwork(
        anchors=kept,
        weights=(*weights[:-1], weights[-1][:, keep]),
        biases=(*biases[:-1], biases[-1][keep]),
        log_power=log_power[keep],
        middle=middle,
        size=size,
        error=np.asarray(2 * _SHARP),
        station_position=station,
        report_position=reports.position,
        station=reports.station[0],
    )


def _unit(azimuth, zenith) -> np.ndarray:
    level = np.sin(zenith)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.cos(zenith)], axis=-1)


def _train(free, fixed: Anchors, data, total: int, key):
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
        turn, shift, weights, biases = free
        feature, place, image, valid = some
        anchors = Anchors(turn, fixed.hand, fixed.flip, shift)
        logit = forward(weights, biases, feature)
        gap = image[:, :, None] - jax.vmap(anchors.image)(place)[:, None]
        square = jnp.sum(gap**2, axis=-1) / error**2
        ours = -0.5 * square - 3 * jnp.log(error) - 1.5 * jnp.log(2 * jnp.pi)
        ours = ours + jax.nn.log_sigmoid(logit)[:, None]
        return ours, jax.nn.logsumexp(ours, axis=-1), logit, valid

    def cost(free, some, error):
        _, found, logit, valid = owners(free, some, error)
        told = jnp.where(valid, -jnp.logaddexp(found, _CLUTTER), 0.0)
        return jnp.mean(jnp.sum(told, axis=1) + jnp.sum(jax.nn.sigmoid(logit), axis=1))

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

    parts = [jax.tree.map(lambda leaf, k=k: leaf[k : k + 256], data) for k in range(0, count, 256)]
    return carry[0], sum(jax.jit(use)(part) for part in parts)
