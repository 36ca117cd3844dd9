"""How many terms of the mixture likelihood does a core evaluate in a second?

Unordered echoes of a target, each a mixture over all ordered pairs of the paths that a map offers
at a place: 25 echoes, 16 paths, 6,400 terms a place.  Ours, compiled for many places at once,
beside the loop over echoes and pairs in numpy that one would write, on the same numbers, which
must agree.  One core, medians of five runs, in seconds of the processor.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 python benchmarks/mixture.py
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.localization.unassociated.one_way_paths import (
    Candidates,
    EchoModel,
    EchoSet,
    log_clutter_density,
    pair_intensity,
)

jax.config.update("jax_enable_x64", True)
ECHOES, PATHS = 25, 16


def world(places: int, rng: np.random.Generator):
    """Draw echoes of five paths, and paths at places near the target."""
    azimuth, zenith = rng.uniform(-3, 3, PATHS), rng.uniform(1.2, 1.8, PATHS)
    length, gain = rng.uniform(100, 400, PATHS), rng.normal(-20, 2, PATHS)
    out, back = (a.ravel() for a in np.meshgrid(np.arange(5), np.arange(5)))
    noise = lambda std: std * rng.normal(size=ECHOES)  # noqa: E731
    flat = np.full(ECHOES, 0.05)
    echo = EchoSet(
        departure_azimuth=azimuth[out] + noise(0.05), departure_zenith=zenith[out] + noise(0.05),
        arrival_azimuth=azimuth[back] + noise(0.05), arrival_zenith=zenith[back] + noise(0.05),
        length=length[out] + length[back] + noise(1.5), departure_azimuth_std=flat,
        departure_zenith_std=flat, arrival_azimuth_std=flat, arrival_zenith_std=flat,
        length_std=np.full(ECHOES, 1.5), log_power=gain[out] + gain[back] + noise(1.0),
        valid=np.ones(ECHOES, bool),
    )  # fmt: skip
    shift = rng.normal(size=(places, PATHS))
    many = np.ones((places, PATHS))
    paths = Candidates(
        azimuth + 0.01 * shift, zenith * many, length + shift, 1e-4 * many, 1e-4 * many,
        0.05 * many, gain * many, 0.5 * many,
    )  # fmt: skip
    return echo, paths


def naive(echo: EchoSet, path: Candidates, model: EchoModel) -> float:
    """Write it down: echo by echo, pair by pair."""
    total, clutter = 0.0, float(log_clutter_density(echo, model))
    wrap = lambda angle: (angle + np.pi) % (2 * np.pi) - np.pi  # noqa: E731
    for e in range(ECHOES):
        explained = 0.0
        for k in range(PATHS):
            for j in range(PATHS):
                log = 0.0
                for miss, variance in (
                    (wrap(echo.departure_azimuth[e] - path.azimuth[k]), path.azimuth_variance[k]
                     + echo.departure_azimuth_std[e] ** 2),
                    (echo.departure_zenith[e] - path.zenith[k], path.zenith_variance[k]
                     + echo.departure_zenith_std[e] ** 2),
                    (wrap(echo.arrival_azimuth[e] - path.azimuth[j]), path.azimuth_variance[j]
                     + echo.arrival_azimuth_std[e] ** 2),
                    (echo.arrival_zenith[e] - path.zenith[j], path.zenith_variance[j]
                     + echo.arrival_zenith_std[e] ** 2),
                    (echo.length[e] - path.length[k] - path.length[j], path.length_variance[k]
                     + path.length_variance[j] + echo.length_std[e] ** 2),
                ):  # fmt: skip
                    log -= 0.5 * (miss**2 / variance + np.log(2 * np.pi * variance))
                explained += np.exp(min(log + np.log(model.detection) - clutter, 60.0))
        total += np.log1p(explained)
    return total


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=2000)
    options = parser.parse_args()
    echo, paths = world(options.places, np.random.default_rng(0))
    model = EchoModel(*(jnp.asarray(value, float) for value in (0.9, 0.05, 0.25, 0.0)))

    def one(path):
        pairs = pair_intensity(echo, path, path, model, jnp.nan)
        return jnp.sum(jnp.log1p(jnp.sum(pairs, axis=(1, 2))))

    work = jax.jit(lambda paths: jax.lax.map(one, paths, batch_size=8))
    echo = jax.tree.map(jnp.asarray, echo)
    found = np.asarray(work(jax.tree.map(jnp.asarray, paths)))
    spent = []
    for _ in range(5):
        began = time.process_time()
        np.asarray(work(paths))
        spent.append(time.process_time() - began)
    terms = options.places * ECHOES * PATHS**2
    rate = terms / np.median(spent)
    began = time.process_time()
    some = [naive(jax.tree.map(np.asarray, echo), Candidates(*(a[k] for a in paths)), model)
            for k in range(2)]  # fmt: skip
    loop = 2 * ECHOES * PATHS**2 / (time.process_time() - began)
    np.testing.assert_allclose(found[:2], some, rtol=1e-4)
    print(f"mixture likelihood: {rate / 1e6:.0f} million terms/s, "
          f"{options.places / np.median(spent):,.0f} places/s")  # fmt: skip
    print(f"the loop: {loop / 1e6:.3f} million terms/s; ratio {rate / loop:,.0f}")


if __name__ == "__main__":
    main()
