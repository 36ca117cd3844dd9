"""How long do the estimators take, and what does sliding windows by Fourier transform save?

One snapshot of 8 + 8 antennas and 64 subcarriers with six echoes at 25 dB.  The twin of ESPRIT
writes the matrix of all windows out and takes its singular value decomposition; the twin of the
greedy method refines with long atoms.  Compile time is apart, medians of five runs, one thread.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/estimation.py
"""

import argparse
import math

import jax
import jax.numpy as jnp
import numpy as np
from direct import long_atoms
from known_pairing import timed
from numpy.lib.stride_tricks import sliding_window_view

from echoscape.estimation import METHODS
from echoscape.estimation.subspace import signal_subspace, window_of
from echoscape.estimation.tone_fit import fit_gains
from echoscape.numerics.harmonics import synthesize
from echoscape.studies.nlos_ckm.from_samples import random_tones

SHAPE = (8, 8, 64)


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    frequency = random_tones("resolved", SHAPE, rng)
    gain = np.exp(2j * math.pi * rng.random(6))
    noise = math.prod(SHAPE) / 10**2.5
    real, imaginary = rng.standard_normal((2, *SHAPE))
    clean = np.asarray(synthesize(jnp.asarray(frequency), jnp.asarray(gain), SHAPE))
    samples = clean + math.sqrt(noise / 2) * (real + 1j * imaginary)
    for name, method in METHODS.items():
        fit, first, warm = timed(lambda m=method: m(most=12)(samples, noise), 5)
        found = int(np.sum(fit.valid))
        print(f"{name:7s} {1e3 * warm:8.1f} ms (first {first:.1f} s), {found} echoes")

    window = window_of(SHAPE)

    def written_out():
        rows = sliding_window_view(samples, window).reshape(-1, math.prod(window))
        return np.linalg.svd(rows.T, full_matrices=False)[0][:, :6]

    basis, _, twin = timed(written_out, 3)
    ours, _, quick = timed(lambda: signal_subspace(samples, noise, most=6, sources=6), 5)
    flat = ours.reshape(6, -1)
    held = np.linalg.norm(flat.conj() @ basis) ** 2 / 6  # one if both span the same
    print(f"subspace: convolutions {1e3 * quick:.1f} ms, matrix written out {1e3 * twin:.0f} ms, "
          f"ratio {twin / quick:.0f}; shared {held:.6f}")  # fmt: skip

    valid = jnp.ones(6, bool)
    told, data = jnp.asarray(frequency), jnp.asarray(samples)
    factored = jax.jit(lambda w: fit_gains(data, w, valid))

    @jax.jit
    def dense(w):
        return jnp.linalg.lstsq(long_atoms(w, SHAPE).T, data.ravel())[0]

    assert jnp.abs(factored(told) - dense(told)).max() < 1e-8
    _, _, quick = timed(lambda: jax.block_until_ready(factored(told)), 5)
    _, _, twin = timed(lambda: jax.block_until_ready(dense(told)), 5)
    print(f"gains: factors {1e3 * quick:.2f} ms, long atoms {1e3 * twin:.2f} ms, "
          f"ratio {twin / quick:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
