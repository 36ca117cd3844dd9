"""A network that outputs geometry in a world of single bounces: scatterers and their visibility.

The counterpart of `virtual_anchor_network` where directions of arrival are unknown: every slot is
a point scatterer that holds everywhere, with a position jitter; a network gives where it is among
the strongest paths.  Slots start at points that single paths of reports invert to, far more
than there are scatterers, and learn by the likelihood of the reports' paths as a set while the
error allowed to them falls; those that explain too little, or the same as a better one, are let
go, and the rest learn on.

Takes `Reports` of one station.
Gives a `ScattererNetworkMap`.
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
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
from echoscape.channel_map.scatterers.map import ScattererMap
from echoscape.channel_map.scatterers.search import points_of, read_bounces
from echoscape.channel_map.storage import storable
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.progress import Progress, silent
from echoscape.reports import Reports
from echoscape.scene import StaticPoints

_BATCH = 64
_STAGES = ((0.3, 4.0, 0.3), (0.2, 0.3, 0.1), (0.3, 0.1, 0.01), (0.2, 0.01, 0.01))
"""Share of the steps, and the error allowed beside the jitter at its start and end [m]; between two
stages slots are let go."""
_CLUTTER = -10.0
"""Logarithm of the background's density per radian and metre."""
_FEWEST = 4.0
"""Paths that a slot must explain to be kept."""
_LEAST = 0.03
"""What a slot must explain to be kept, as a share of what slots explain on average."""
_DOUBLE = 3.0
"""Distance in standard deviations below which two slots are one scatterer."""


@storable("scatterer-network")
class ScattererNetworkMap(VisibilityNetwork):
    """Points, and a network from place to which of them are among the strongest paths."""

    points: ScattererMap
    """The scatterers, visible from everywhere."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        prior = self.points(position)
        return eqx.tree_at(lambda p: p.probability, prior, self.visibility(position))

    def static_points(self) -> StaticPoints:
        """Give the scatterers."""
        return self.points.static_points()


class ScattererNetwork(MapModel):
    """Scatterers and their visibility trained by gradients: for worlds of single bounces."""

    name: ClassVar[str] = "scatterer-network"

    slots: int = pydantic.Field(default=256, ge=1)
    """Most scatterers to begin with, each at what one path inverts to."""
    steps: int = pydantic.Field(default=10_000, ge=1)
    """Steps of 64 reports each, fewer than a third of them with all slots."""

    def fit(self, reports, *, key, start=None, progress=None) -> ScattererNetworkMap:
        """Train scatterers and their visibility on one station's reports.

        Raises:
            InputError: No path inverts to a point.
        """
        self.refuse_start(start)
        return _fit(reports, self.slots, self.steps, key, progress or silent)


def _fit(
    reports: Reports, slots: int, steps: int, key: PRNGKeyArray, progress: Progress
) -> ScattererNetworkMap:
    origin = np.asarray(reports.station_position[0], dtype=float)
    paths, planar = read_bounces(reports, origin)
    points = points_of(paths)
    points = points[np.isfinite(points[:, 0])]
    if not len(points):
        raise InputError(
            f"a network of points needs paths of a single bounce; none of the {len(paths.report)} "
            "paths reported inverts to one"
        )
    pick, init, shuffle = jax.random.split(key, 3)
    chosen = jax.random.choice(pick, len(points), (min(slots, len(points)),), replace=False)
    place = np.asarray(reports.position - origin, dtype=float) * [1.0, 1.0, 0.0 if planar else 1.0]
    middle, size = position_scales(reports.position)
    data = _training_set(paths, place, (reports.position - middle) / size)
    free = _initial(points[np.asarray(chosen)], init)
    for number, (part, first, last) in enumerate(_STAGES):
        progress(number, len(_STAGES), "training")
        errors = np.geomspace(first, last, max(round(part * steps), 1))
        free = _train(free, data, errors, planar, jax.random.fold_in(shuffle, number))
        if number + 1 < len(_STAGES):
            used = _shares(free, data, last).sum((0, 1))
            spread = float(np.hypot(np.exp(free.log_jitter), last))
            free = _keep(free, _distinct(np.asarray(free.point), used, _DOUBLE * spread))
    share = _shares(free, data, 0.0)
    free, share = jax.tree.map(lambda leaf: np.asarray(leaf, dtype=float), (free, share))
    gain, fluctuation = _strengths(free, share, data)
    at_place = np.eye(3) * [1.0, 1.0, 0.0 if planar else 1.0]
    known = ScattererMap(
        points=StaticPoints.scatterers(
            free.point + origin,
            np.exp(2.0 * free.log_jitter) * np.tile(at_place, (len(gain), 1, 1)),
            log_gain=gain,
            log_gain_std=fluctuation,
            visibility=np.ones(len(gain)),
        ),
        report_position=np.zeros((1, 3)),
        station_position=origin,
        station=reports.station[0],
        reported_paths=LISTED,
        planar=planar,
    )
    return ScattererNetworkMap(
        points=known,
        weights=tuple(np.asarray(leaf, np.float32) for leaf in free.weights),
        biases=tuple(np.asarray(leaf, np.float32) for leaf in free.biases),
        position_mean=middle,
        position_scale=size,
        station_position=origin,
        report_position=np.asarray(reports.position, dtype=float),
        station=reports.station[0],
    )


class _Free(NamedTuple):
    """What is learnt; points as the station sees them."""

    point: Float[AnyArray, "slot 3"]
    log_jitter: Float[AnyArray, ""]
    """One for all: a slot with its own would shrink on to a few paths."""
    weights: tuple[Float[AnyArray, "_ _"], ...]
    biases: tuple[Float[AnyArray, " _"], ...]


class _TrainingSet(NamedTuple):
    """Reports, their strongest paths first; places as the station sees them."""

    feature: Float[AnyArray, "report 3"]
    place: Float[AnyArray, "report 3"]
    seen: Float[AnyArray, "report path 3"]
    """Azimuth [rad], zenith [rad] and length [m]."""
    variance: Float[AnyArray, "report path 3"]
    """Of these, as reported; infinite where not measured."""
    log_power: Float[AnyArray, "report path"]
    """NaN where it was not measured."""
    valid: Float[AnyArray, "report path"]


def _training_set(paths, place, feature) -> _TrainingSet:
    shape = (len(place), LISTED)
    power = np.where(np.isfinite(paths.log_power), paths.log_power, -np.inf)
    order = np.lexsort((-power, paths.report))
    first = np.searchsorted(paths.report[order], np.arange(len(place)))
    rank = np.arange(len(order)) - first[paths.report[order]]
    order, rank = order[rank < LISTED], rank[rank < LISTED]
    at = paths.report[order], rank

    def fill(*columns):
        filled = np.zeros((*shape, len(columns)))
        filled[at] = np.stack([column[order] for column in columns], axis=-1)
        return filled

    valid = np.zeros(shape)
    valid[at] = 1.0
    length_std = np.hypot(paths.length_std, paths.place_std)
    small = lambda leaf: np.asarray(leaf, np.float32)  # noqa: E731
    return _TrainingSet(
        small(feature), small(place), small(fill(paths.azimuth, paths.zenith, paths.length)),
        small(fill(paths.azimuth_std, paths.zenith_std, length_std) ** 2),
        small(fill(paths.log_power)[..., 0]), small(valid),
    )  # fmt: skip


def _initial(points: np.ndarray, key: PRNGKeyArray) -> _Free:
    jitter = jnp.asarray(np.log(0.3), jnp.float32)
    return _Free(jnp.asarray(points, jnp.float32), jitter, *first_layers(len(points), key))


def path_scores(
    point: Float[AnyArray, "slot 3"],
    log_jitter: float | Float[AnyArray, ""],
    place: Float[AnyArray, "report 3"],
    seen: Float[AnyArray, "report path 3"],
    variance: Float[AnyArray, "report path 3"],
    error: float | Float[AnyArray, ""],
) -> Float[Array, "report path slot"]:
    """Give the log density of each reported path by way of each point.

    Args:
        point: As the station sees it [m].
        log_jitter: Logarithm of how far each jitters along each axis [m].
        place: Where the reports are, as the station sees them [m].
        seen: Azimuth [rad], zenith [rad] and length [m].
        variance: Of these, as reported; infinite where not measured.
        error: A further jitter that is allowed [m].
    """
    point, place = jnp.asarray(point)[None], jnp.asarray(place)[:, None]
    first = jnp.sqrt(jnp.sum(point**2, axis=-1) + 1e-4)
    level = jnp.sqrt(jnp.sum(point[..., :2] ** 2, axis=-1) + 1e-4)
    second = jnp.sqrt(jnp.sum((place - point) ** 2, axis=-1) + 1e-4)
    slope = point / first[..., None] - (place - point) / second[..., None]
    jitter = jnp.exp(2.0 * log_jitter) + error**2
    along = jitter * jnp.sum(slope**2, axis=-1) + 0.5 * (jitter * (1 / first + 1 / second)) ** 2
    azimuth = jnp.arctan2(point[..., 1], point[..., 0])
    mean = [azimuth, jnp.arctan2(level, point[..., 2]), first + second]
    gap = [seen[:, :, None, each] - mean[each][:, None] for each in range(3)]
    gap[0] = gap[0] - 2 * jnp.pi * jnp.round(gap[0] / (2 * jnp.pi))
    east, north = point[..., 0] / level, point[..., 1] / level
    sideways = -north * slope[..., 0] + east * slope[..., 1]
    downwards = (east * slope[..., 0] + north * slope[..., 1]) * point[..., 2] / first - (
        slope[..., 2] * level / first
    )
    own = [jitter / level**2, jitter / first**2, along]
    spread = [own[each][:, None] + variance[:, :, None, each] for each in range(3)]
    # A jitter that turns a path's angle changes its length too: judge the length given the angles.
    for each, shared in ((0, sideways * jitter / level), (1, downwards * jitter / first)):
        per_angle = shared[:, None] / spread[each]
        gap[2] = gap[2] - per_angle * gap[each]
        spread[2] = spread[2] - per_angle * shared[:, None]
    squares = jnp.stack(gap) ** 2 / jnp.stack(spread) + jnp.log(2 * jnp.pi * jnp.stack(spread))
    return -0.5 * jnp.sum(squares, axis=0)


def _densities(free: _Free, some: _TrainingSet, error):
    """Log density of each reported path under each slot, and the slots' logits."""
    score = path_scores(free.point, free.log_jitter, some.place, some.seen, some.variance, error)
    weights, biases, feature = jax.tree.map(jnp.asarray, (free.weights, free.biases, some.feature))
    return score, forward(weights, biases, feature)


def _train(free: _Free, data: _TrainingSet, errors: np.ndarray, planar: bool, key) -> _Free:
    """Adam with falling rates while the error allowed beside the jitter falls."""
    count, total = len(data.place), len(errors)
    falling = lambda rate: optax.adam(optax.cosine_decay_schedule(rate, total))  # noqa: E731
    groups = optax.multi_transform(
        {"place": falling(1e-2), "jitter": falling(1e-2), "net": falling(3e-3)},
        _Free("place", "jitter", "net", "net"),  # pyright: ignore[reportArgumentType]
    )
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), groups)

    def cost(free, some, error):
        score, logit = _densities(free, some, error)
        found = jax.nn.logsumexp(score + jax.nn.log_sigmoid(logit)[:, None], axis=-1)
        explained = -some.valid * jnp.logaddexp(found, _CLUTTER)
        return jnp.mean(jnp.sum(explained, axis=1) + jnp.sum(jax.nn.sigmoid(logit), axis=1))

    def step(carry, row):
        free, moments = carry
        index, error = row
        some = jax.tree.map(lambda leaf: leaf[index], data)
        slope = jax.grad(cost)(free, some, error)
        if planar:
            slope = slope._replace(point=slope.point.at[:, 2].set(0.0))
        change, moments = optimiser.update(slope, moments, free)
        return (optax.apply_updates(free, change), moments), None

    @jax.jit
    def run(free, data_order, errors):
        return jax.lax.scan(step, (free, optimiser.init(free)), (data_order, errors))[0][0]

    data = jax.tree.map(jnp.asarray, data)
    batch = min(_BATCH, count)
    a_pass = -(-count // batch)
    keys = jax.random.split(key, -(-total // a_pass))
    order = jax.vmap(
        lambda k: jnp.resize(jax.random.permutation(k, count), (a_pass, batch))
    )(keys)  # fmt: skip
    order = order.reshape(-1, batch)[:total]
    return run(free, order, jnp.asarray(errors, jnp.float32))


def _shares(free: _Free, data: _TrainingSet, error: float) -> Float[np.ndarray, "report path slot"]:
    """Share of every reported path that each slot explains."""

    @jax.jit
    def shares(some):
        score, logit = _densities(free, some, error)
        score = score + jax.nn.log_sigmoid(logit)[:, None]
        found = jax.nn.logsumexp(score, axis=-1)
        share = jnp.exp(score - jnp.logaddexp(found, _CLUTTER)[..., None])
        return some.valid[..., None] * share

    return np.concatenate([np.asarray(shares(part)) for part in parts_of(data, len(data.place))])


def _distinct(point: np.ndarray, used: np.ndarray, reach: float) -> np.ndarray:
    """Keep the slots that explain enough, of those within reach [m] the one that explains most."""
    kept: list[int] = []
    least = max(_FEWEST, _LEAST * used.sum() / max(np.sum(used >= _FEWEST), 1))
    for slot in np.argsort(-used):
        distance = np.linalg.norm(point[kept] - point[slot], axis=-1)
        if used[slot] >= least and np.all(distance > reach):
            kept.append(int(slot))
    return np.array(kept or [int(np.argmax(used))])


def _keep(free: _Free, kept: np.ndarray) -> _Free:
    layers = keep_slots((free.weights, free.biases), kept)
    return _Free(free.point[kept], free.log_jitter, *layers)


def _strengths(free: _Free, share: np.ndarray, data: _TrainingSet):
    """Gain of each slot by the law of distances, and how far powers scatter beyond the jitter."""
    first = np.linalg.norm(free.point, axis=-1)
    second = np.linalg.norm(data.place[:, None] - free.point, axis=-1)
    gain = data.log_power[..., None] + 2.0 * np.log(first * np.maximum(second, 1e-2))[:, None]
    weight = np.where(np.isfinite(gain), share, 0.0)
    gain = np.where(np.isfinite(gain), gain, 0.0)
    total = np.maximum(weight.sum((0, 1)), 1e-9)
    mean = (weight * gain).sum((0, 1)) / total
    jittered = 4.0 * np.exp(2.0 * free.log_jitter) * (first**-2 + np.maximum(second, 1.0) ** -2)
    rest = (weight * ((gain - mean) ** 2 - jittered[:, None])).sum((0, 1)) / total
    return mean, np.sqrt(np.clip(rest, 0.01**2, None))
