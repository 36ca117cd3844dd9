"""How long does the paper's figure 7 take, training included?

Ten layouts of the paper's square, six errors of delay, 200 targets each, five methods: geometry in
and out of sight, the paper's network with reciprocal echoes and with all pairs, the exact map.  In
each layout the network learns from 10,000 reports for 500 epochs.  Wall time of the whole,
everything compiled on the way.

    python benchmarks/figure_seven.py [--layouts 10]
"""

import argparse
import time

import jax
import numpy as np

from echoscape.studies.nlos_ckm import square as nlos_square


def main():
    parser = argparse.ArgumentParser(description="Time the paper's figure 7.")
    parser.add_argument("--layouts", type=int, default=10)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    spent, rows = [], []
    for setting in nlos_square.paper_points(options.layouts):
        began = time.perf_counter()
        rows += nlos_square.measure(setting)
        spent.append(time.perf_counter() - began)
    print(f"{options.layouts} layouts, six errors of delay, 200 targets, five methods")
    print(f"in all         {sum(spent):7.1f} s")
    print(f"first layout   {spent[0]:7.1f} s")
    if len(spent) > 1:
        print(f"each other     {np.median(spent[1:]):7.1f} s")
    for name in nlos_square.PAPER:
        of = lambda delay, name=name: np.median(  # noqa: E731
            [r["rmse"] for r in rows if r["method"] == name and r.get("delay") == delay]
        )
        told = " ".join(f"{of(delay):7.2f}" for delay in nlos_square.DELAYS)
        print(f"{name:22s} {told} m root mean square at {nlos_square.DELAYS} ns")


if __name__ == "__main__":
    main()
