"""What all solvers share: settings saved, degrees of freedom, and how often programs compile."""

import contextlib
import dataclasses
import json
import logging

import jax
import numpy as np
import pytest

from echoscape.imaging import (
    NoncoherentPoints,
    OcclusionAwareGamp,
    VisibilityGamp,
    image,
    make_problem,
)
from echoscape.imaging.solver import degrees_of_freedom, limit_of
from echoscape.scene.voxel_grid import VoxelGrid
from tests.worlds.voxel_scenes import GRID, scene


@contextlib.contextmanager
def compilations():
    """Collect the names of the programs that JAX compiles."""
    found = []

    class Listener(logging.Handler):
        def emit(self, record):
            text = record.getMessage()
            if "Finished XLA compilation" in text:
                found.append(text)

    logger, listener = logging.getLogger("jax._src.dispatch"), Listener()
    logger.addHandler(listener)
    jax.config.update("jax_log_compiles", True)
    try:
        yield found
    finally:
        jax.config.update("jax_log_compiles", False)
        logger.removeHandler(listener)


def moved(snapshots, by, scale):
    """The same scene elsewhere, louder."""
    return dataclasses.replace(
        snapshots,
        user_position=snapshots.user_position + by,
        antenna_position=snapshots.antenna_position + by,
        received=scale * snapshots.received,
        noise_variance=3.0 * scale**2 * snapshots.noise_variance,
    )


def test_a_grid_elsewhere_in_other_noise_with_other_settings_compiles_nothing():
    """Origin, radius, noise, iterations and thresholds are arrays; only sizes are compiled."""
    snapshots, _ = scene(users=3, station_count=2, occupied=4)
    image(snapshots, GRID, solver=OcclusionAwareGamp(iterations=7))
    by = np.array([100.0, -30.0, 7.0])
    x, y, z = (float(value) for value in np.asarray(GRID.origin) + by)
    other = VoxelGrid((x, y, z), GRID.shape, GRID.edge)
    with compilations() as found:
        image(
            moved(snapshots, by, 2.0),
            other,
            solver=OcclusionAwareGamp(iterations=9, threshold=0.25),
            radius=0.47 * GRID.edge,
        )
    assert found == []


@pytest.mark.slow
def test_the_default_solver_compiles_nothing_for_another_place_edge_or_settings():
    """One image compiles for all of its sizes, the noise stated or learnt."""
    first = VoxelGrid((-1.5, 2.0, 0.5), (5, 4, 3), 0.9)
    second = VoxelGrid((40.0, -7.0, 1.0), (5, 4, 3), 1.3)
    image(scene(3, grid=first, occupied=3)[0], first, solver=VisibilityGamp())
    other, _ = scene(3, grid=second, occupied=3)
    settings = VisibilityGamp(iterations=77, starts=3)
    with compilations() as found:
        image(other, second, solver=settings, radius=0.55)
    assert found == []
    with compilations() as found:
        image(dataclasses.replace(other, noise_variance=None), second, solver=settings)
    assert found == []


@pytest.mark.slow
def test_other_numbers_of_voxels_users_stations_antennas_and_tones_compile_nothing():
    """Sizes are rounded up: to 192 voxels, 8 users, 3 stations, 12 antennas and 3 subcarriers."""
    large, small = (
        VoxelGrid((-1.5, 2.0, 0.5), (8, 6, 4), 0.9),
        VoxelGrid((1.0, 0.0, 2.0), (7, 5, 4), 1.1),
    )
    band = 28e9 + np.array([-2e8, -0.5e8, 1e8])
    solver = VisibilityGamp(starts=2)
    first, _ = scene(3, grid=large, users=8, station_count=3, occupied=5, frequency=band)
    image(first, large, solver=solver)
    other, truth = scene(5, grid=small, users=7, station_count=3, occupied=5, frequency=band)
    fewer = dataclasses.replace(
        other,
        antenna_position=other.antenna_position[:, :10],
        received=other.received[:, :10],
    )
    with compilations() as found:
        made = image(fewer, small, solver=solver)
    # Samples of another shape are copied to the device by a program of no size.
    assert [line for line in found if "jit(stage)" not in line] == []
    assert np.array_equal(made.occupied().ravel() & truth.in_range, there(truth))


@pytest.mark.slow
@pytest.mark.parametrize("solver", [VisibilityGamp(starts=1), OcclusionAwareGamp(iterations=40)])
def test_padding_changes_nothing_but_the_last_digits(solver, monkeypatch):
    """Seven users and ten antennas beside themselves with the padding taken away."""
    grid = VoxelGrid((-1.5, 2.0, 0.5), (7, 5, 4), 0.9)
    whole, _ = scene(3, grid=grid, users=7, station_count=3, occupied=5)
    snapshots = dataclasses.replace(
        whole, antenna_position=whole.antenna_position[:, :10], received=whole.received[:, :10]
    )
    padded = image(snapshots, grid, solver=solver)
    monkeypatch.setattr("echoscape.imaging.operator.padding.bucket", lambda count, _: count)
    monkeypatch.setattr("echoscape.imaging.operator.cascade.bucket", lambda count, _: count)
    plain = image(snapshots, grid, solver=solver)
    assert make_problem(snapshots, grid).cascade.padded == (1, grid.voxels)
    assert padded.iterations == plain.iterations
    # Sums of single precision in another order, over tens of iterations.
    assert np.allclose(padded.mean, plain.mean, rtol=0, atol=1e-4)
    assert np.allclose(padded.occupancy, plain.occupancy, rtol=0, atol=1e-3)
    assert np.isclose(padded.certificate.misfit, plain.certificate.misfit, rtol=1e-3)


def there(truth):
    """Say which voxels are occupied and in range."""
    return (truth.coefficient != 0) & truth.in_range


def test_the_field_solver_compiles_nothing_at_all():
    grid = VoxelGrid((-1.5, 2.0, 0.5), (4, 3, 2), 0.9)
    band = 28e9 + np.linspace(-1.5e8, 1.5e8, 4)
    snapshots, _ = scene(3, grid=grid, users=4, occupied=2, station_count=2, frequency=band)
    with compilations() as found:
        image(snapshots, grid, solver=NoncoherentPoints(restarts=0))
    assert found == []


def test_the_listener_notices_what_is_compiled():
    with compilations() as found:
        jax.jit(lambda x: x * 3.25 + 0.125)(np.ones(17)).block_until_ready()
    assert found


@pytest.mark.parametrize(("is_complex", "share"), [(False, 0.5), (True, 1.0)])
def test_a_real_coefficient_takes_half_a_sample(is_complex, share):
    """Least squares on noise alone leaves a mean squared residual of (n - share p) / n."""
    snapshots, _ = scene(users=4, station_count=2)
    problem = make_problem(snapshots, GRID, is_complex=is_complex)
    samples, fitted = problem.received.size, 40
    left = degrees_of_freedom(problem, float(fitted))
    generator = np.random.default_rng(4)
    shape = (samples, fitted)
    columns = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    draws = generator.standard_normal((400, samples)) + 1j * generator.standard_normal(
        (400, samples)
    )
    if not is_complex:  # stack parts: real unknowns, twice as many real samples
        columns = np.concatenate([columns.real, columns.imag])
        draws = np.concatenate([draws.real, draws.imag], 1)
    q, _ = np.linalg.qr(columns)
    residual = draws - (draws @ q.conj()) @ q.T
    mean = np.sum(np.abs(residual) ** 2) / np.sum(np.abs(draws) ** 2) * samples
    assert left == samples - share * fitted
    # 400 draws of 96 complex samples: a standard error of 0.5 % of the samples, times four.
    assert np.isclose(mean, left, rtol=0.02)


def test_the_limits_lie_about_one_by_the_deviation_of_a_mean_of_squares():
    draws = np.random.default_rng(1).standard_normal((4000, 2, 50))
    mean = np.mean(np.sum(draws**2, 1) / 2, 1)  # complex samples of variance one
    assert np.isclose(limit_of(50, 1.0) - 1, mean.std(), rtol=0.05)  # 1.1 % standard error
    assert limit_of(50, -2.0) < 1 < limit_of(50)


def test_settings_are_saved_as_they_were():
    stored = json.loads(VisibilityGamp(iterations=17, starts=2).settings())
    wanted = {"iterations": 17, "starts": 2, "slots": None, "learn_noise": True}
    assert stored == {"solver": "VisibilityGamp", **wanted}
