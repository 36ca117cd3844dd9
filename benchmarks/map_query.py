"""How fast are maps learnt, asked, and used to locate without labels?

The sample's reports; maps of anchors and of nearest reports.  A map is asked at ten thousand
places at once, and place by place through the same compiled function, as one would in a loop
(some hundred places, scaled up).  Targets are located association free.  Compile time is apart,
medians of five runs, one thread.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/map_query.py [--places 10000]
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from known_pairing import timed

from echoscape.channel_map import NearestReports, VirtualAnchors, fit_map
from echoscape.localization import localize
from echoscape.reports.echo_making import make_echoes
from echoscape.sample import load_sample

LOOPED = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=10_000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    reports, targets, _ = load_sample()
    rng = np.random.default_rng(0)
    near = reports.position[rng.integers(len(reports.position), size=options.places)]
    place = jnp.asarray(near + [5.0, 5.0, 0.0] * rng.normal(size=near.shape))
    made = make_echoes(targets, jax.random.key(0), angle_std=0.05, delay_std=5e-9)
    print(f"{len(reports.position)} reports; processor seconds, one thread")
    for model in (VirtualAnchors(), NearestReports()):
        channel_map, first, warm = timed(lambda model=model: fit_map(reports, model), 3)
        print(f"{model.name}: fit                    {warm:9.2f} s (first {first:.1f} s)")
        ask = jax.jit(channel_map.__call__)
        together = jax.jit(jax.vmap(channel_map.__call__))
        _, first, batch = timed(lambda: jax.block_until_ready(together(place)))  # noqa: B023
        each = list(place[:LOOPED])
        _, _, loop = timed(lambda: jax.block_until_ready([ask(one) for one in each]))  # noqa: B023
        loop *= options.places / LOOPED
        print(f"{model.name}: {options.places} places at once {batch:9.3f} s (first {first:.1f} s)")
        print(f"{model.name}: place by place         {loop:9.3f} s, ratio {loop / batch:.0f}")
        _, first, warm = timed(lambda: localize(made.echoes, channel_map), 3)  # noqa: B023
        count = len(targets.position)
        print(f"{model.name}: {count} targets, no labels {warm:9.2f} s (first {first:.1f} s), "
              f"{1e3 * warm / count:.0f} ms a target")  # fmt: skip


if __name__ == "__main__":
    main()
