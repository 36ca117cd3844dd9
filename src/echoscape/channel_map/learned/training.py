"""How the learned map is fitted to reports.

The variance that the network claims is its own: what the report states of its errors is added in
the loss, those of its measurements and that of its position, which moves a delay by at most 1/c
and a departure by at most 1/(c tau) per metre.

Takes `Reports`.
Gives a `NetworkMap`.
"""

import dataclasses
import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pydantic
from jaxtyping import Bool, Float, PRNGKeyArray

from echoscape.channel_map.learned.losses import (
    Loss,
    TrainingSet,
    likelihood_loss,
    set_loss,
    squared_loss,
)
from echoscape.channel_map.learned.network import (
    HEADS,
    LIKELIHOOD_HEADS,
    PLANAR_HEADS,
    NetworkMap,
    SlotScale,
    forward,
    read_slots,
)
from echoscape.channel_map.model import MapModel
from echoscape.estimation import PathEstimates
from echoscape.reports import Reports
from echoscape.units import delay_of, wrap_angle

EPOCHS_A_ROUND = 20  # between two looks at the held-out reports


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What the compiled training is specialised to."""

    loss: str
    heads: tuple[str, ...]
    batch: int
    epochs: int
    learning_rate: float

    def optimiser(self, reports: int) -> optax.GradientTransformation:
        """Adam with a cosine rate, gradients clipped at norm 10."""
        steps = self.epochs * -(-reports // self.batch)
        rate = optax.cosine_decay_schedule(self.learning_rate, steps)
        return optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate))


@functools.partial(jax.jit, static_argnames="config")
def _train(
    state,
    keys,
    train: TrainingSet,
    check: TrainingSet,
    scale: SlotScale,
    shake,
    config: TrainingConfig,
):
    """Train for one epoch per key; return the state and the loss on the reports kept aside."""
    reports = train.features.shape[0]
    steps = -(-reports // config.batch)
    optimiser = config.optimiser(reports)
    loss = {"squared": squared_loss, "likelihood": likelihood_loss, "set": set_loss}[config.loss]

    def cost(parameters, examples):
        weights, biases = parameters
        raw = forward(weights, biases, examples.features)
        return loss(read_slots(raw, scale, config.heads), examples, scale)

    def step(state, batch):
        order, key = batch
        parameters, moments = state
        examples = jax.tree.map(lambda leaf: leaf[order], train)
        noise = shake[None] * jax.random.normal(key, examples.features.shape, jnp.float32)
        examples = eqx.tree_at(lambda item: item.features, examples, examples.features + noise)
        gradient = jax.grad(cost)(parameters, examples)
        change, moments = optimiser.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, change), moments), None

    def epoch(state, key):
        for_order, for_noise = jax.random.split(key)
        order = jax.random.permutation(for_order, reports)
        order = jnp.resize(order, (steps, config.batch))  # the last batch is filled from the first
        return jax.lax.scan(step, state, (order, jax.random.split(for_noise, steps)))

    state, _ = jax.lax.scan(epoch, state, keys)
    return state, cost(state[0], check)


def _initial(sizes: tuple[int, ...], key: PRNGKeyArray):
    """Draw weights that keep the size of what passes through; offsets are zero."""
    weights, biases = [], []
    for inputs, outputs, each in zip(
        sizes, sizes[1:], jax.random.split(key, len(sizes) - 1), strict=False
    ):
        bound = (6.0 / inputs) ** 0.5
        weights.append(jax.random.uniform(each, (inputs, outputs), jnp.float32, -bound, bound))
        biases.append(jnp.zeros(outputs, jnp.float32))
    weights[-1] = 0.1 * weights[-1]
    return tuple(weights), tuple(biases)


def _point_slots(
    parameters, examples: TrainingSet, heads, slots: int, loss: Loss, key: PRNGKeyArray
):
    """Start every slot at a path: the average of its rank or, in a set, one drawn from a report."""
    weights, biases = parameters
    valid = np.asarray(examples.valid)
    azimuth, zenith, delay = np.moveaxis(np.asarray(examples.target), -1, 0)
    values = {
        "east": np.cos(azimuth),
        "north": np.sin(azimuth),
        "zenith": zenith,
        "delay": delay,
        "log_power": examples.log_power,
    }
    if loss == "set":
        drawn = jax.random.choice(key, int(valid.sum()), (slots,), replace=False)
        start = {name: value[valid][np.asarray(drawn)] for name, value in values.items()}
    else:
        count = np.maximum(valid.sum(axis=0), 1)
        start = {name: (value * valid).sum(axis=0) / count for name, value in values.items()}
    rows = [start.get(name, np.zeros(slots)) for name in heads]
    offset = jnp.asarray(np.concatenate(rows), jnp.float32)
    return weights, (*biases[:-1], offset)


def _pad(leaf: np.ndarray, paths: int) -> np.ndarray:
    return np.pad(leaf, ((0, 0), (0, paths - leaf.shape[1])))


def _scale(
    position: Float[np.ndarray, "report 3"], paths: PathEstimates, slots: int, planar: bool
) -> SlotScale:
    """Measure the mean and spread of each quantity over all paths."""
    valid = np.asarray(paths.valid)
    azimuth, zenith, delay = (
        np.asarray(value)[valid]
        for value in (paths.departure_azimuth, paths.departure_zenith, paths.delay)
    )
    log_power = _log_power(paths)
    middle = np.angle(np.mean(np.exp(1j * azimuth)))
    turn = np.sqrt(np.mean(wrap_angle(azimuth - middle) ** 2))
    size = position.std(axis=0)
    share = np.clip(valid.mean(axis=0), 1e-3, 1 - 1e-3)
    average, spread = log_power[valid].mean(), max(log_power[valid].std(), 0.1)
    rank = np.where(valid, (log_power - average) / spread, 0.0).sum(0) / np.maximum(valid.sum(0), 1)
    values = {
        "position_mean": position.mean(axis=0),
        "position_scale": np.where(size > 0.1, size, np.inf),
        "azimuth_mean": middle,
        "zenith_mean": zenith.mean(),
        "delay_mean": delay.mean(),
        "log_power_mean": average,
        "azimuth_scale": max(turn, 1e-3) if planar else 1.0,
        "zenith_scale": max(zenith.std(), 1e-3),
        "delay_scale": max(delay.std(), 1e-10),
        "log_power_scale": spread,
        "slot_log_power": np.resize(rank, slots),
        "slot_presence": np.resize(np.log(share / (1 - share)), slots),
    }
    return SlotScale(**{name: np.asarray(value) for name, value in values.items()})


def _log_power(paths: PathEstimates) -> Float[np.ndarray, "report path"]:
    return np.log(np.where(paths.power > 0, paths.power, 1e-30))


def _training_set(reports: Reports, paths: PathEstimates, scale: SlotScale) -> TrainingSet:
    """Standardise the reports in double precision before they become single."""
    length = np.maximum(paths.length, 1.0)
    shift = reports.position_std[:, None]
    stated = [paths.departure_azimuth_std, paths.departure_zenith_std, paths.delay_std]
    stated = np.stack(stated, axis=-1)
    moved = [
        shift / (length * np.maximum(np.sin(paths.departure_zenith), 0.1)),
        shift * np.abs(np.cos(paths.departure_zenith)) / length,
        np.broadcast_to(delay_of(shift), length.shape),
    ]
    measured = paths.valid[..., None] & np.isfinite(stated)
    size = np.stack([scale.azimuth_scale, scale.zenith_scale, scale.delay_scale])
    target = [
        paths.departure_azimuth,
        (paths.departure_zenith - scale.zenith_mean) / scale.zenith_scale,
        (paths.delay - scale.delay_mean) / scale.delay_scale,
    ]
    noise = np.where(measured, stated, 0.0) ** 2 + np.stack(moved, axis=-1) ** 2
    examples = TrainingSet(
        features=(reports.position - scale.position_mean) / scale.position_scale,
        target=np.where(measured, np.stack(target, axis=-1), 0.0),
        noise=noise / size**2,
        measured=measured,
        log_power=(_log_power(paths) - scale.log_power_mean) / scale.log_power_scale,
        valid=np.asarray(paths.valid),
    )
    return jax.tree.map(
        lambda leaf: leaf if leaf.dtype == bool else leaf.astype(np.float32), examples
    )


def _held_out(
    position: Float[np.ndarray, "report 3"], settings: "Network", key: PRNGKeyArray
) -> Bool[np.ndarray, " report"]:
    """Choose whole blocks of the area until they hold the share of the reports to keep aside."""
    cell = np.floor(position[:, :2] / settings.block).astype(int)
    _, block, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    order = np.asarray(jax.random.permutation(key, len(count)))
    enough = np.cumsum(count[order]) <= settings.held_out * len(position)
    return np.isin(block.ravel(), order[enough])


class Network(MapModel):
    """A fully connected network from place to the strongest paths."""

    name: ClassVar[str] = "network"

    loss: Loss = "likelihood"
    """What training minimises: the negative log-likelihood of paths in falling power, their squared
    error as in the paper, or the negative log-likelihood of paths as a set."""
    paths: int = pydantic.Field(default=5, ge=1)
    """Strongest paths of a report to learn; in falling power there is one slot for each."""
    set_slots: int = pydantic.Field(default=12, ge=1)
    """Path slots when paths are learnt as a set."""
    hidden: tuple[int, ...] = pydantic.Field(default=(128, 256, 128), min_length=1)
    """Width of each hidden layer."""
    planar: bool = False
    """Predict azimuth and delay only, without wrap, as in the paper's square."""
    epochs: int | None = pydantic.Field(default=None, ge=1)
    """Passes over the reports; if not given as many as take 16,000 steps, but no more than 500."""
    batch: int | None = pydantic.Field(default=None, ge=1)
    """Reports in one step; if not given one in 32 of them, between 32 and 128."""
    learning_rate: float = pydantic.Field(default=3e-3, gt=0)
    """Adam's rate at the start; falls to zero along a cosine."""
    jitter: float = pydantic.Field(default=1.0, ge=0)
    """Standard deviation by which positions are perturbed in training, against overfitting [m]."""
    held_out: float = pydantic.Field(default=0.1, ge=0, lt=0.9)
    """Share of the reports kept to choose among the weights, in whole blocks of the area."""
    block: float = pydantic.Field(default=10.0, gt=0)
    """Side of such a block [m]."""

    @pydantic.model_validator(mode="after")
    def _planar_has_an_order(self) -> "Network":
        if self.planar and self.loss == "set":
            raise ValueError("the planar form learns paths in falling power, not as a set")
        return self

    def fit(self, reports, *, key, start=None, progress=None) -> NetworkMap:
        """Fit a network to the reports of one station; the same key gives the same map."""
        self.refuse_start(start)
        strongest = reports.estimates[:, : self.paths]
        strongest = jax.tree.map(lambda leaf: _pad(leaf, self.paths), strongest)
        slots = self.set_slots if self.loss == "set" else self.paths
        heads = PLANAR_HEADS if self.planar else HEADS
        heads = LIKELIHOOD_HEADS if heads is HEADS and self.loss == "likelihood" else heads
        scale = _scale(reports.position, strongest, slots, self.planar)
        examples = _training_set(reports, strongest, scale)
        scale = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), scale)

        start, split, shuffle = jax.random.split(key, 3)
        parameters = _initial((3, *self.hidden, len(heads) * slots), start)
        parameters = _point_slots(parameters, examples, heads, slots, self.loss, start)
        held = _held_out(reports.position, self, split)
        train = jax.tree.map(lambda leaf: jnp.asarray(leaf[~held]), examples)
        check = jax.tree.map(
            lambda leaf: jnp.asarray(leaf[held if held.any() else ~held]), examples
        )
        count = int((~held).sum())
        batch = min(self.batch or int(np.clip(count // 32, 32, 128)), count)
        epochs = self.epochs or min(500, -(-16_000 * batch // count))
        config = TrainingConfig(self.loss, heads, batch, epochs, self.learning_rate)
        shake = np.asarray(self.jitter / scale.position_scale, np.float32)

        state = (parameters, config.optimiser(count).init(parameters))
        best, best_loss, done = parameters, np.inf, 0
        for number in np.array_split(np.arange(epochs), max(1, epochs // EPOCHS_A_ROUND)):
            keys = jax.vmap(lambda each: jax.random.fold_in(shuffle, each))(jnp.asarray(number))
            state, score = _train(state, keys, train, check, scale, shake, config)
            done += len(number)
            if float(score) < best_loss:
                best, best_loss = state[0], float(score)
            if progress is not None:
                progress(done, epochs, "training")
        return NetworkMap(
            weights=tuple(np.asarray(weight) for weight in best[0]),
            biases=tuple(np.asarray(bias) for bias in best[1]),
            scale=scale,
            station_position=reports.station_position[0],
            report_position=reports.position,
            station=reports.station[0],
            heads=heads,
        )
