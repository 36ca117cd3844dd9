"""Images end to end: the truth comes back, failures are codes, bad input is one sentence."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import (
    IgnoreOcclusion,
    ImageStatus,
    KnownMask,
    OcclusionAwareGamp,
    Snapshots,
    UnstructuredMask,
    VisibilityGamp,
    image,
    make_problem,
    read_image,
    read_snapshots,
    write_image,
    write_snapshots,
)
from echoscape.imaging.gamp.iteration import step
from echoscape.imaging.gamp.state import Counts, GampSettings, MaskModel, init
from echoscape.imaging.simulation import simulate
from tests.worlds.voxel_scenes import GRID, error_db, scene


@pytest.fixture(scope="module")
def case():
    return scene(occupied=12, line_of_sight=True, pilots=9)


@pytest.fixture(scope="module")
def found(case):
    snapshots, _ = case
    return image(snapshots, GRID)


@pytest.mark.slow
def test_occupied_voxels_come_back_with_their_coefficients(case, found):
    _, truth = case
    assert error_db(found, truth) < -25  # genie's least squares: -31 dB at this noise
    there = truth.coefficient.reshape(GRID.shape) != 0
    in_range = truth.in_range.reshape(GRID.shape)
    assert np.array_equal(found.occupied() & in_range, there & in_range)
    assert found.certificate.holds
    assert found.status is ImageStatus.CONVERGED


@pytest.mark.slow
def test_what_nobody_sees_is_said(case, found):
    _, truth = case
    assert np.mean(found.unseen.ravel() == ~truth.in_range) > 0.99
    views = np.concatenate([truth.user, truth.station])
    there = truth.coefficient != 0
    agree = found.visibility.reshape(len(views), -1)[:, there] == views[:, there]
    assert agree.mean() > 0.97


@pytest.mark.slow
def test_an_image_survives_its_file(found, tmp_path):
    write_image(found, tmp_path / "image.npz")
    again = read_image(tmp_path / "image.npz")
    for name in ("mean", "variance", "occupancy", "unseen", "visibility"):
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert again.grid == found.grid
    assert again.status is found.status
    assert again.certificate == found.certificate


def test_snapshots_survive_their_file(case, tmp_path):
    snapshots, _ = case
    write_snapshots(snapshots, tmp_path / "snapshots.npz")
    again = read_snapshots(tmp_path / "snapshots.npz")
    for field in dataclasses.fields(Snapshots):
        assert np.array_equal(getattr(again, field.name), getattr(snapshots, field.name))


def test_spare_pilots_tell_the_noise(case):
    snapshots, _ = case
    told = make_problem(snapshots, GRID)
    silent = make_problem(dataclasses.replace(snapshots, noise_variance=None), GRID)
    assert silent.noise_known
    # 3 spare pilots x 36 antennas complex: a standard error of 10 %, times three.
    assert np.isclose(float(silent.noise), float(told.noise), rtol=0.3)


@pytest.mark.slow
def test_noise_that_nobody_tells_is_learnt_and_certifies_nothing():
    snapshots, truth = scene(5)
    found = image(dataclasses.replace(snapshots, noise_variance=None), GRID)
    assert error_db(found, truth) < -20
    assert not found.certificate.holds
    assert 0.4 < found.noise_variance / snapshots.noise_variance < 2.5


@pytest.mark.slow
def test_pilots_need_not_be_orthogonal(case):
    snapshots, truth = scene(6, pilots=8)
    generator = np.random.default_rng(0)
    mixed = (
        snapshots.pilots
        + 0.05 * generator.standard_normal(snapshots.pilots.shape) * np.abs(snapshots.pilots).mean()
    )
    undo = np.linalg.pinv(snapshots.pilots)
    channel = np.einsum("batf,kt->bakf", snapshots.received, undo)
    received = np.einsum("bakf,tk->batf", channel, mixed)
    again = dataclasses.replace(snapshots, received=received, pilots=mixed)
    assert error_db(image(again, GRID), truth) < -20


@pytest.mark.slow
def test_complex_coefficients_on_several_subcarriers():
    snapshots, truth = scene(8, frequency=np.array([27.9e9, 28.1e9]))
    turned = truth.coefficient * np.exp(1j * np.arange(GRID.voxels))
    again, _ = simulate(
        GRID, turned, snapshots.user_position, snapshots.antenna_position, snapshots.frequency,
        snr=100.0, seed=8,
    )  # fmt: skip
    found = image(again, GRID, is_complex=True)
    wrong = np.sum(np.abs(found.mean.ravel() - turned)[truth.in_range] ** 2)
    assert wrong < 0.01 * np.sum(np.abs(turned[truth.in_range]) ** 2)


@pytest.mark.slow
def test_solvers_stand_in_the_order_they_should():
    snapshots, truth = scene(11, occupied=20, users=5)
    genie = error_db(image(snapshots, GRID, solver=KnownMask(truth.user, truth.station)), truth)
    errors = [
        error_db(image(snapshots, GRID, solver=solver), truth)
        for solver in (
            VisibilityGamp(),
            OcclusionAwareGamp(),
            UnstructuredMask(),
            IgnoreOcclusion(),
        )
    ]
    best, geometry, free, ignore = errors
    assert best < genie + 1.5
    assert best <= min(geometry, free) + 1e-6
    assert ignore > best + 5


def test_a_solver_that_fails_is_a_code_and_no_nan():
    snapshots, _ = scene(2, occupied=120)
    found = image(snapshots, GRID, solver=OcclusionAwareGamp(iterations=15))
    assert found.status in (ImageStatus.ITERATION_LIMIT, ImageStatus.DIVERGED)
    assert np.all(np.isfinite(found.mean))
    assert not found.certificate.holds


def test_progress_comes_between_rounds_which_change_nothing():
    snapshots, _ = scene(2, occupied=120)
    solver, stages = OcclusionAwareGamp(iterations=40), []
    whole = image(snapshots, GRID, solver=solver)
    found = image(snapshots, GRID, solver=solver, progress=lambda *what: stages.append(what))
    assert found.iterations == whole.iterations == 40
    assert np.array_equal(found.mean, whole.mean)
    stage = "40 iterations at most"
    assert stages == [(0, 40, f"{stage}, compiling"), (25, 40, stage)]


def test_nothing_is_learnt_from_coefficients_that_explain_less_than_nothing(case):
    """From those a rate of a half is learnt, and with it the next are worse."""
    problem = make_problem(case[0], GRID)
    settings = GampSettings(mask_model=MaskModel.GEOMETRIC)
    mask = problem.fully_visible()
    counts = Counts(problem.received.size, problem.active.voxels)
    start = init(problem.received, problem.cascade, mask, problem.noise, settings, counts)
    start = start._replace(mean=jnp.full_like(start.mean, 3.0), iteration=jnp.array(9, "int32"))
    made = (problem.received, problem.cascade, counts, settings)
    after, _, changes = eqx.filter_jit(step)(start, *made)
    assert int(changes.count) == 0
    assert float(after.misfit) > float(jnp.mean(jnp.abs(problem.received) ** 2))
    assert float(after.prior.rate) == float(start.prior.rate)
    assert not np.any(after.cast)


@pytest.mark.slow
@pytest.mark.parametrize("users", [2, 8])
def test_where_samples_are_few_the_first_guess_is_sparse_and_the_first_step_damped(users):
    """Two users, one station of 12 antennas: 48 real samples of 280 voxels; or four times that."""
    problem = make_problem(scene(users=users, station_count=1)[0], GRID)
    mask, means = problem.fully_visible(), []
    for share in (0.3, 1.0):
        settings = GampSettings(mask_model=MaskModel.GEOMETRIC, step=jnp.float32(share))
        counts = Counts(problem.received.size, problem.active.voxels)
        start = init(problem.received, problem.cascade, mask, problem.noise, settings, counts)
        made = (problem.received, problem.cascade, counts, settings)
        means.append(eqx.filter_jit(step)(start, *made)[0].mean)
    few = users == 2
    assert np.isclose(float(start.prior.rate), 0.2 * 48 / 280 if few else 0.05, rtol=1e-6)
    assert jnp.abs(means[1]).max() > 0
    # Round-off of single precision.
    assert jnp.allclose(means[0], (0.3 if few else 1.0) * means[1], rtol=1e-5, atol=1e-9)


def broken(case, **changes):
    snapshots, _ = case
    return dataclasses.replace(snapshots, **changes)


def test_a_grid_larger_than_memory_is_refused(case, monkeypatch):
    monkeypatch.setattr("echoscape.imaging.problem.machine_memory", lambda: 1e5)
    with pytest.raises(InputError, match="GB, more than half of this machine's memory"):
        make_problem(case[0], GRID)


def test_refusals_say_what_was_needed(case):
    snapshots, _ = case
    hurt = snapshots.received.copy()
    hurt[0, 1, 2] = np.nan
    with pytest.raises(InputError, match=r"received must be finite numbers; 1 of 324 are NaN"):
        broken(case, received=hurt)
    with pytest.raises(InputError, match="pilots must be at least as long as there are users, 6"):
        broken(case, received=snapshots.received[:, :, :4], pilots=snapshots.pilots[:4])
    with pytest.raises(InputError, match="linearly independent"):
        broken(case, pilots=np.ones_like(snapshots.pilots))
    with pytest.raises((ValueError, TypeError), match="user_position"):  # ours, or the annotation's
        broken(case, user_position=snapshots.user_position[:3])
    with pytest.raises(InputError, match="noise_variance must be finite and above zero"):
        broken(case, noise_variance=-1.0)
    with pytest.raises(InputError, match="only zeros"):
        broken(case, received=np.zeros_like(snapshots.received))
    with pytest.raises(InputError, match="occlusion radius must be finite and above zero, in m"):
        make_problem(snapshots, GRID, radius=0.0)


def test_users_inside_occupied_voxels_and_empty_scenes_are_refused(case):
    snapshots, truth = case
    inside = snapshots.user_position.copy()
    inside[2] = GRID.centres()[np.flatnonzero(truth.coefficient)[0]]
    where = (snapshots.antenna_position, snapshots.frequency)
    with pytest.raises(InputError, match="user 2 stands inside an occupied voxel"):
        simulate(GRID, truth.coefficient, inside, *where, snr=10.0, seed=0)
    behind = np.array([[[-200.0, 5.0, 2.0]], [[-201.0, 5.0, 2.0]]])
    wall = np.zeros(GRID.shape)
    wall[0] = 0.5
    user = np.array([[60.0, 5.0, 2.7]])
    with pytest.raises(InputError, match="no user sees any voxel that a station sees"):
        simulate(GRID, wall.ravel(), user, behind, where[1], snr=10.0, seed=0, radius=30.0)
    with pytest.raises(InputError, match="no voxel is occupied"):
        simulate(GRID, 0 * truth.coefficient, inside, *where, snr=10.0, seed=0)


def test_damaged_files_are_refused(tmp_path, case):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_snapshots(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"must end in \.npz"):
        read_snapshots(tmp_path / "none.csv")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="damaged, cut short"):
        read_snapshots(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", received=np.zeros(3))
    with pytest.raises(InputError, match="lacks the array 'pilots'"):
        read_snapshots(tmp_path / "other.npz")
