"""How fast are images made, and how much faster than written down plainly?

Boxes of 1 m voxels, sixteen users, five stations of 4 x 4 antennas, one thread.  In one run: one
product with the factored operator and its adjoint against the same with the dense matrix; the
shadows of a list of voxels by cones against the rule pair by pair; and a solve of forty
iterations with the geometry's mask (GAMP-MVSVR) against the number of voxels.  Compile time is
apart, of the operators and shadows the median of five runs counts.  The solve has a process of its
own, whose peak memory counts all of it: program, compiler, samples and messages.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/imaging.py [--sides 10 22 46 100]

One solve from end to end by the default solver, scored beside least squares that knows support
and mask, and drawn:

    ... python benchmarks/imaging.py --sides 46 --occupied 200 --whole --figure image.png
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.imaging import OcclusionAwareGamp, VisibilityGamp, make_problem
from echoscape.imaging.known import genie
from echoscape.imaging.occlusion.segments import hidden_by_pairs
from echoscape.imaging.occlusion.shadows import cast_by_cones
from echoscape.imaging.operator.cascade import adjoint, forward
from echoscape.imaging.operator.products import join
from echoscape.imaging.simulation import random_users, simulate
from echoscape.imaging.solver import assemble_image
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import random_voxels
from echoscape.studies.occlusion_imaging.study import score
from echoscape.units import SPEED_OF_LIGHT

USERS, FREQUENCY, ITERATIONS = 16, 28e9, 40


def scene(side: int, occupied: int, count: int = USERS):
    """Simulate a cube with scatterers in it and stations around it."""
    grid = VoxelGrid((0.0, 0.0, 0.0), (side, side, side), 1.0)
    rng = np.random.default_rng(5)
    index = random_voxels(grid, occupied, rng)
    coefficient = np.zeros(grid.voxels)
    coefficient[index] = rng.uniform(0.2, 1, occupied)
    rows, columns = np.meshgrid(np.arange(4), np.arange(4), indexing="ij")
    stations = []
    for turn in 0.4 + 2 * np.pi * np.arange(5) / 5:
        left = np.array([-np.sin(turn), np.cos(turn), 0.0])
        up = np.cross([np.cos(turn), np.sin(turn), 0.2], left)
        offset = rows.reshape(-1, 1) * up + columns.reshape(-1, 1) * left
        middle = side * (0.5 + np.array([0.75 * np.cos(turn), 0.75 * np.sin(turn), 0.3]))
        stations.append(middle + 0.5 * SPEED_OF_LIGHT / FREQUENCY * offset)
    users = random_users(grid, index, count, rng)
    snapshots, truth = simulate(
        grid, coefficient, users, np.array(stations), np.array([FREQUENCY]), snr=100.0, seed=5
    )
    return make_problem(snapshots, grid), index, truth, snapshots


def timed(work, runs: int = 5) -> float:
    """Run once to compile, then measure the median [s]."""
    jax.block_until_ready(work())
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        jax.block_until_ready(work())
        spent.append(time.perf_counter() - began)
    return float(np.median(spent))


def operators(problem) -> tuple[float, float]:
    """Time a product and its adjoint: factored, and with the dense matrix [s]."""
    mask = problem.fully_visible()
    vector = jnp.ones(problem.cascade.padded, jnp.complex64)
    user, antenna = join(problem.cascade.user)[:, 0], join(problem.cascade.antenna)[:, 0]
    chunks, _, size = user.shape
    antenna = antenna.reshape(chunks, -1, size)
    dense = jnp.einsum("ckn,cmn->kmcn", user, antenna).reshape(-1, chunks * size)
    both = jax.jit(lambda c, m, x: adjoint(c, m, forward(c, m, x)))
    plain = jax.jit(lambda a, x: jnp.conj(jnp.conj(a @ x) @ a))
    again = plain(dense, vector.reshape(-1))
    ours = both(problem.cascade, mask, vector).reshape(-1)
    if not jnp.allclose(ours, again, rtol=1e-2, atol=1e-3 * float(jnp.abs(again).max())):
        raise RuntimeError("the factored operator and the dense matrix disagree")
    return (
        timed(lambda: both(problem.cascade, mask, vector)),
        timed(lambda: plain(dense, vector.reshape(-1))),
    )


def shadows(problem, index) -> tuple[float, float]:
    """Time the shadows of all scatterers: by cones, and pair by pair [s]."""
    grid, view, listed = problem.grid, problem.view, jnp.asarray(index)
    each = jnp.ones(len(index), view.dtype)
    nothing = jnp.zeros((len(view), grid.voxels), view.dtype)
    cones = jax.jit(
        lambda listed: cast_by_cones(nothing, grid, view, listed, each, len(index), problem.radius)
    )

    # A few scatterers at a time: all pairs at once would not fit in memory.
    def pairs():
        return sum(plain(listed[i : i + 10]) for i in range(0, len(index), 10))

    whole = VoxelGrid((0.0, 0.0, 0.0), grid.shape, 1.0)
    plain = jax.jit(lambda some: hidden_by_pairs(whole, view, some, problem.radius))
    if not np.array_equal(cones(listed), pairs()):
        raise RuntimeError("cones and pairs disagree")
    return timed(lambda: cones(listed)), timed(pairs, 1)


def peak() -> float:
    """Ask Linux for the most memory this process ever had; `getrusage` counts its parent's too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1e6  # [GB]
    return float("nan")


def solve(snapshots, grid):
    """Solve twice by forty iterations with the geometry's mask, in a process that does no more."""
    jax.config.update("jax_enable_x64", True)
    problem = make_problem(snapshots, grid)
    solver = OcclusionAwareGamp(iterations=ITERATIONS)
    began = time.perf_counter()
    solver.solve(problem)
    first, most, began = time.perf_counter() - began, peak(), time.perf_counter()
    found = solver.solve(problem)
    return np.asarray(found.mean), found.iterations, first, time.perf_counter() - began, most


def whole(side: int, occupied: int, users: int, figure: Path | None):
    """Solve once by the default solver, compiling included, and score and draw the image."""
    problem, _, truth, snapshots = scene(side, occupied, users)
    grid = VoxelGrid((0.0, 0.0, 0.0), (side, side, side), 1.0)
    best = score(assemble_image(problem, genie(truth).solve(problem), snapshots, grid), truth)
    began = time.perf_counter()

    def tell(done, total, _):
        print(f"  start {done} of at most {total}, {time.perf_counter() - began:.0f} s", flush=True)

    found = assemble_image(problem, VisibilityGamp().solve(problem, tell), snapshots, grid)
    spent = time.perf_counter() - began
    if figure is not None:
        from echoscape.plotting.voxel_image import draw_image  # its library takes memory

        station = snapshots.antenna_position.mean(1)
        draw_image(found, figure, user_position=snapshots.user_position, station_position=station)
    marks, seen = score(found, truth), truth.in_range & (truth.coefficient != 0)
    hit = found.occupied().ravel() & (truth.coefficient != 0)
    inside = f"{side**3} voxels, {users} users, {occupied} occupied, {int(seen.sum())} in range"
    print(
        f"{inside}: error {marks['error_db']:.1f} dB (known support and mask "
        f"{best['error_db']:.1f} dB), F1 {marks['f1']:.3f}, {int(hit.sum())} found and "
        f"{int(found.occupied().sum() - hit.sum())} false, misfit {marks['misfit']:.3f} of at most "
        f"{marks['limit']:.3f}, least log-odds {marks['least_log_odds']:.1f}, "
        f"{found.iterations} iterations, {spent:.0f} s, peak {peak():.2f} GB",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[10, 22], help="voxels a side")
    parser.add_argument("--occupied", type=int, default=40)
    parser.add_argument("--users", type=int, default=USERS, help="of --whole")
    parser.add_argument(
        "--densest",
        type=int,
        default=20_000,
        help="largest dense matrix; ten times as much for pairs",
    )
    parser.add_argument("--whole", action="store_true", help="only solve, by the default solver")
    parser.add_argument("--figure", type=Path, help="draw the image of --whole to this file")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # as every command does
    if options.whole:
        for side in options.sides:
            whole(side, options.occupied, options.users, options.figure)
        return
    print(f"on {jax.devices()[0].device_kind}")
    print("   voxels |  operator: ours, dense, ratio  |  shadows: ours, pairs, ratio   | solve")
    for side in options.sides:
        problem, index, truth, snapshots = scene(side, options.occupied)
        line = f"{side**3:9d} |"
        for compare, asked, largest in (
            (operators, (problem,), options.densest),
            (shadows, (problem, index), 10 * options.densest),
        ):
            if side**3 > largest:
                line += f" {'':30} |"
                continue
            ours, plain = compare(*asked)
            line += f" {1e3 * ours:8.2f} {1e3 * plain:9.1f} ms {plain / ours:7.1f} |"
        grid = problem.grid
        del problem
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            mean, iterations, first, spent, most = alone.apply(solve, (snapshots, grid))
        there = truth.in_range
        wrong = np.sum((mean - truth.coefficient)[there] ** 2)
        error = 10 * np.log10(wrong / np.sum(truth.coefficient[there] ** 2))
        print(f"{line} {spent:.2f} s for {iterations} iterations (first {first:.1f} s), "
              f"error {error:.1f} dB, peak {most:.2f} GB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
