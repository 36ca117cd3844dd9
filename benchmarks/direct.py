"""How much do factors save over long atoms, in sampling, in scoring a place, in locating?

Sixteen plus sixteen antennas, 192 subcarriers, 25 echoes of five paths: an atom is 49,152 complex
numbers, and the twins form all 25.  Sampling one target, and scoring one place with its gradient
left out; then locating one target over the whole square, whose grid the twin would score cell by
cell (some cells, scaled up).  Compile time is apart, medians of five runs, one thread.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/direct.py [--looped 64]
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from known_pairing import timed

from echoscape.localization import Direct, localize, prepare
from echoscape.localization.direct.grid import score_cells
from echoscape.localization.direct.likelihood import fit_echoes
from echoscape.numerics.harmonics import centred
from echoscape.propagation import scatter, square_world, strongest
from echoscape.signals import Waveform, echo_channel
from echoscape.studies.nlos_ckm.point_world import equal_echoes, exact_map


def long_atoms(frequency, shape):
    """Write every atom out."""
    axes = jnp.meshgrid(*(centred(n) for n in shape), indexing="ij")
    phase = sum(
        frequency[:, a].reshape(-1, *(1,) * len(shape)) * n[None] for a, n in enumerate(axes)
    )
    return jnp.exp(1j * phase).reshape(len(frequency), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--looped", type=int, default=64)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    site = square_world(jax.random.key(1), elements=16)
    waveform, channel_map = Waveform(192, 100e6 / 192), exact_map(site, 5)
    place = np.array([[37.0, 62.0, 0.0]])
    made, _ = equal_echoes(site, waveform, place, listed=5, snr_db=15.0, key=jax.random.key(2))
    whole_map, first, prepared = timed(
        lambda: prepare(channel_map, made, method=Direct(reach=5.0)), 3
    )
    search = whole_map.grid
    print(f"prepare {len(search.cells)} cells    {prepared:9.3f} s (first {first:.1f} s)")
    view, samples, noise = search.views[0], jnp.asarray(made.received[0]), made.noise()
    held = view.select(jnp.asarray(place[0]))
    array, shape = site.array[0], view.tensor.shape
    paths = strongest(scatter(site, jnp.asarray(place[0]), with_line_of_sight=False), 5)
    ones = jnp.ones((5, 5), complex)
    factored = jax.jit(lambda: echo_channel(paths, paths, array, array, waveform, reflection=ones))
    frequency = held.frequencies(jnp.asarray(place[0]), jnp.zeros(view.errors))
    gain = jnp.outer(paths.gain, paths.gain).ravel()
    dense = jax.jit(lambda w: gain @ long_atoms(w, shape))
    same = jnp.abs(factored().ravel() - dense(frequency)).max() / jnp.abs(factored()).max()
    assert same < 1e-6, same
    _, _, ours = timed(lambda: jax.block_until_ready(factored()), 5)
    _, _, twin = timed(lambda: jax.block_until_ready(dense(frequency)), 5)
    print(f"sample one target: factors {1e3 * ours:7.2f} ms, long atoms {1e3 * twin:7.2f} ms, "
          f"ratio {twin / ours:.0f}")  # fmt: skip

    tensor, snr = view.tensor.fold(samples), jnp.asarray(10.0)
    score = jax.jit(
        lambda w: fit_echoes(tensor, w, held.present, held.mix, jnp.asarray(noise), snr).value
    )

    @jax.jit
    def naive(w):
        atoms = held.mix.T @ long_atoms(w, shape)
        heard = atoms.conj() @ tensor.ravel() / tensor.size
        matrix = atoms.conj() @ atoms.T / tensor.size + 0.1 * jnp.eye(len(atoms))
        explained = jnp.real(heard.conj() @ jnp.linalg.solve(matrix, heard)) * tensor.size / noise
        return explained - jnp.linalg.slogdet(10.0 * matrix)[1]

    assert abs(float(score(frequency)) - float(naive(frequency))) < 1e-6 * abs(
        float(naive(frequency))
    )
    _, _, ours = timed(lambda: jax.block_until_ready(score(frequency)), 5)
    _, _, twin = timed(lambda: jax.block_until_ready(naive(frequency)), 5)
    print(f"score one place:   factors {1e3 * ours:7.2f} ms, long atoms {1e3 * twin:7.2f} ms, "
          f"ratio {twin / ours:.0f}")  # fmt: skip

    grid = lambda: jax.block_until_ready(  # noqa: E731
        score_cells([samples], search.features, [view.mix], jnp.asarray([noise]))
    )
    _, _, ours = timed(grid, 5)
    ask = jax.jit(lambda p: view.select(p).frequencies(p, jnp.zeros(view.errors)))
    cells = list(search.cells[:: len(search.cells) // options.looped])[: options.looped]
    _, _, loop = timed(lambda: jax.block_until_ready([naive(ask(p)) for p in cells]), 3)
    loop *= len(search.cells) / len(cells)
    print(f"score all cells:   ours {ours:9.3f} s, long atoms cell by cell {loop:9.1f} s, "
          f"ratio {loop / ours:.0f}")  # fmt: skip
    _, first, whole = timed(lambda: localize(made, whole_map), 5)
    print(f"locate one target: ours {whole:9.3f} s (first {first:.1f} s)")


if __name__ == "__main__":
    main()
