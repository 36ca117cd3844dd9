"""How much does compiling whole epochs save over the training loop one would write?

The paper's network on the paper's square: 100 m x 100 m, eight scatterers, the five strongest
paths, batches of 128, 500 epochs.  The peer takes the same steps, one call of a compiled step
for each batch; it runs for a few epochs and its time is scaled up.  Compile time is apart.

    python benchmarks/network_fit.py [--reports 10000] [--epochs 500] [--loss squared]
"""

import argparse
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from echoscape.channel_map import Network, fit_map
from echoscape.channel_map.learned.losses import TrainingSet, squared_loss
from echoscape.channel_map.learned.network import PLANAR_HEADS, SlotScale, forward, read_slots
from echoscape.propagation import Paths
from echoscape.reports import Reports
from echoscape.units import SPEED_OF_LIGHT

STATION = np.array([50.0, 0.0, 0.0])


def square(count: int, scatterers: int = 8, listed: int = 5) -> Reports:
    """Make the paper's reports: single bounces on point scatterers."""
    rng = np.random.default_rng(0)
    place = np.c_[rng.uniform(0, 100, (count, 2)), np.zeros(count)]
    bounce = np.c_[rng.uniform(5, 95, (scatterers, 2)), np.zeros(scatterers)]
    first = bounce - STATION
    near, far = np.linalg.norm(first, axis=1), np.linalg.norm(place[:, None] - bounce, axis=2)
    power = 1.0 / (near * far) ** 2
    order = np.argsort(-power, axis=1)[:, :listed]
    azimuth = np.arctan2(first[:, 1], first[:, 0])[order]
    ones = np.ones_like(azimuth)
    return Reports(
        estimates=Paths.from_delays(
            departure_azimuth=azimuth,
            departure_zenith=np.pi / 2 * ones,
            arrival_azimuth=0 * ones,
            arrival_zenith=0 * ones,
            delay=np.take_along_axis((near + far) / SPEED_OF_LIGHT, order, axis=1),
            power=np.take_along_axis(power, order, axis=1),
            departure_azimuth_std=0 * ones,
            departure_zenith_std=np.inf * ones,
            arrival_azimuth_std=np.inf * ones,
            arrival_zenith_std=np.inf * ones,
            delay_std=0 * ones,
            valid=ones > 0,
        ),
        position=place,
        position_std=np.zeros(count),
        time=np.zeros(count),
        report=np.arange(count),
        station_index=np.zeros(count, dtype=int),
        station_position=STATION[None],
        station=("square",),
    )


def step_by_step(reports: Reports, epochs: int, batch: int) -> float:
    """Train with one call per batch; return seconds per epoch, compile time left out."""
    one = np.asarray(1.0, np.float32)
    names = [f"{name}_{kind}" for name in ("azimuth", "zenith", "delay", "log_power")
             for kind in ("mean", "scale")]  # fmt: skip
    scale = SlotScale(
        position_mean=np.full(3, 50, np.float32),
        position_scale=np.full(3, 30, np.float32),
        slot_log_power=np.zeros(5, np.float32),
        slot_presence=np.zeros(5, np.float32),
        **dict.fromkeys(names, one),
    )
    paths, rng = reports.estimates, np.random.default_rng(0)
    target = [paths.departure_azimuth, 0 * paths.delay, paths.delay * 1e7]
    flat = TrainingSet(
        features=(reports.position - 50) / 30,
        target=np.stack(target, axis=-1),
        noise=np.zeros((*paths.delay.shape, 3)),
        measured=np.ones((*paths.delay.shape, 3), bool),
        log_power=0 * paths.delay,
        valid=np.asarray(paths.valid),
    )
    flat = jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else np.float32(leaf), flat)
    sizes = (3, 128, 256, 128, 20)
    weights = tuple(
        jnp.asarray(rng.normal(size=pair) / 10, jnp.float32) for pair in itertools.pairwise(sizes)
    )
    parameters = (weights, tuple(jnp.zeros(size, jnp.float32) for size in sizes[1:]))
    optimiser = optax.adam(3e-3)

    @jax.jit
    def step(parameters, moments, examples):
        def cost(parameters):
            raw = forward(*parameters, examples.features)
            return squared_loss(read_slots(raw, scale, PLANAR_HEADS), examples, scale)

        change, moments = optimiser.update(jax.grad(cost)(parameters), moments)
        return optax.apply_updates(parameters, change), moments

    moments = optimiser.init(parameters)
    began = None
    for epoch in range(epochs + 1):
        order = rng.permutation(len(reports.position))
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            examples = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), flat)  # noqa: B023
            parameters, moments = step(parameters, moments, examples)
        jax.block_until_ready(parameters)
        if epoch == 0:
            began = time.perf_counter()
    assert began is not None
    return (time.perf_counter() - began) / epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--loss", choices=("squared", "likelihood", "set"), default="squared")
    options = parser.parse_args()
    reports = square(options.reports)
    settings = Network(
        epochs=options.epochs, batch=options.batch, planar=options.loss != "set", held_out=0.2
    )
    marks = [time.perf_counter()]
    fit_map(
        reports,
        settings.model_copy(update={"loss": options.loss}),
        key=jax.random.key(0),
        progress=lambda *_: marks.append(time.perf_counter()),
    )
    rounds = np.diff(marks)
    usual = np.median(rounds[1:]) if len(rounds) > 1 else rounds[0]
    total = marks[-1] - marks[0]
    compiling = max(rounds[0] - usual, 0.0)
    held = options.reports * (1 - settings.held_out)
    peer = step_by_step(reports, 3, options.batch) * options.epochs * held / options.reports
    print(f"{options.reports} reports, {options.epochs} epochs, batch {options.batch}")
    print(f"fit                 {total:7.1f} s, of which {compiling:.1f} s compile")
    print(f"step by step        {peer:7.1f} s (scaled up from 3 epochs)")
    print(f"ratio               {peer / (total - compiling):7.1f}")


if __name__ == "__main__":
    main()
