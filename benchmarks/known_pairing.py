"""How much faster are targets located than by the loop one would write?

The paper's square: 100 m x 100 m, eight point scatterers, the paper's network learnt by
likelihood, echoes of all ordered pairs of the five strongest paths with 0.1 rad and 20 ns.  The
same likelihood is climbed three ways, on one thread: ours (grid as a matrix product, then
Gauss-Newton on the map's tangents); `scipy.optimize` in a loop over targets and ten random
starts, gradient compiled; and plain gradient descent from ten starts, as the paper has it, all
at once against its own loop.  Loops run for a few targets and are scaled up.  Compile time is
apart, medians of five runs.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/known_pairing.py [--targets 1000]
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from network_fit import square
from scipy.optimize import minimize

from echoscape.channel_map import Network, fit_map
from echoscape.localization import AssociatedByRank, PairedEchoes, localize, prepare
from echoscape.localization.associated.paired_likelihood import log_likelihood, ranked_paths

ANGLE, DELAY, STARTS, STEPS = 0.1, 20e-9, 10, 500


def echoes_of(reports, rows, rng) -> PairedEchoes:
    """Make the echoes of users taken as targets."""
    azimuth, delay = (
        np.asarray(leaf)[rows]
        for leaf in (reports.estimates.departure_azimuth, reports.estimates.delay)
    )
    shape = (*delay.shape, delay.shape[1])
    return PairedEchoes(
        departure_azimuth=azimuth[:, :, None] + ANGLE * rng.normal(size=shape),
        arrival_azimuth=azimuth[:, None, :] + ANGLE * rng.normal(size=shape),
        delay=delay[:, :, None] + delay[:, None, :] + DELAY * rng.normal(size=shape),
        valid=np.ones(shape, dtype=bool),
        angle_std=ANGLE,
        delay_std=DELAY,
    )


def timed(work, runs: int = 5):
    """Run once to compile, then measure.

    Returns:
        Result, seconds of the first run, median seconds of the others, processor seconds.
    """
    began = time.perf_counter()
    result = work()
    first, spent = time.perf_counter() - began, []
    for _ in range(runs):
        began = time.process_time()
        result = work()
        spent.append(time.process_time() - began)
    return result, first, float(np.median(spent))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--reports", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--looped", type=int, default=3, help="targets of the loops")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(1)
    everyone = square(options.reports + options.targets)
    place = everyone.position[options.reports :]
    settings = Network(epochs=options.epochs, batch=128, planar=True)
    learnt = fit_map(
        everyone, settings, key=jax.random.key(0)
    )  # the targets are among the reports: speed is measured here, not accuracy
    echo = echoes_of(everyone, np.arange(options.reports, len(everyone.position)), rng)

    def error(found):
        return np.linalg.norm(np.asarray(found)[:, :2] - place[: len(found), :2], axis=1)

    method = AssociatedByRank()
    grid, prepare_first, prepare_warm = timed(
        lambda: prepare(learnt, echo, method=method, height=0.0), 1
    )
    fix, first, ours = timed(lambda: localize(echo, grid))

    def cost(where, one):
        place = jnp.concatenate([where, jnp.zeros(1)])
        paths = ranked_paths(learnt, place, 5)
        return -log_likelihood(paths, one, ANGLE, DELAY, place)[0]

    slope = jax.jit(jax.value_and_grad(cost))
    starts = rng.uniform(0, 100, (options.looped, STARTS, 2))
    bare = echo.without_deviations()
    one = [jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k]), bare) for k in range(len(starts))]
    slope(jnp.zeros(2), one[0])
    began, ends = time.process_time(), []
    for target, begin in zip(one, starts):
        runs = [
            minimize(
                lambda x, target=target: tuple(np.asarray(v, float) for v in slope(x, target)),
                x0, jac=True, method="L-BFGS-B", bounds=[(0, 100)] * 2,
            )
            for x0 in begin
        ]  # fmt: skip
        ends.append(min(runs, key=lambda run: run.fun).x)
    peer = (time.process_time() - began) / options.looped * options.targets

    def descend(begin, target):
        def step(where, _):
            gradient = jax.grad(cost)(where, target)
            size = jnp.linalg.norm(gradient)
            return where - gradient * jnp.minimum(0.02, 1.0 / jnp.maximum(size, 1e-9)), None

        where, _ = jax.lax.scan(step, begin, None, STEPS)
        return where, cost(where, target)

    many = min(options.targets, 25)
    begin = jnp.asarray(rng.uniform(0, 100, (many, STARTS, 2)))
    some = jax.tree.map(lambda leaf: jnp.asarray(leaf[:many]), bare)
    together = jax.jit(jax.vmap(jax.vmap(descend, in_axes=(0, None))))
    _, _, batch = timed(lambda: jax.block_until_ready(together(begin, some)), 1)
    batch *= options.targets / many
    began = time.process_time()
    for x0 in begin[0, :2]:
        where = np.asarray(x0)
        for _ in range(STEPS):
            gradient = np.asarray(slope(where, one[0])[1])
            where = where - gradient * min(0.02, 1.0 / max(np.linalg.norm(gradient), 1e-9))
    loop = (time.process_time() - began) / 2 * STARTS * options.targets

    print(f"{options.targets} targets, five paths, all pairs; processor seconds, one thread")
    print(f"prepare the grid            {prepare_warm:9.3f} s (first {prepare_first:.1f} s)")
    print(f"ours                        {ours:9.3f} s (first {first:.1f} s), "
          f"median error {np.median(error(fix.best)):.2f} m")  # fmt: skip
    print(f"scipy, {STARTS} starts            {peer:9.1f} s (scaled from {options.looped}), "
          f"median error {np.median(error(np.array(ends))):.2f} m")  # fmt: skip
    print(f"descent, {STARTS} starts at once  {batch:9.1f} s (scaled from {many})")
    print(f"descent, a loop             {loop:9.1f} s (scaled from two starts)")
    print(f"ratio scipy / ours          {peer / ours:9.0f}")
    print(f"ratio loop / at once        {loop / batch:9.0f}")


if __name__ == "__main__":
    main()
