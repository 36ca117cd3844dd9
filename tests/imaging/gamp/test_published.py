"""Algorithms as published against sums in numpy, iterate by iterate, and how they end."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import BigAmp, GampMvsvr, ImageStatus, image, make_problem
from echoscape.imaging.gamp import published
from echoscape.scene.voxel_grid import VoxelGrid
from tests.worlds.voxel_scenes import GRID, error_db, scene, stations

SMALL = VoxelGrid((-1.5, 2.0, 0.5), (4, 3, 2), 0.9)
RADIUS = 0.5
VOXELS = 24


def scattered(grid, count, antennas=6):
    """Stations whose antennas are many wavelengths apart: nothing is correlated."""
    place = stations(grid, count, rows=1, columns=antennas).mean(1, keepdims=True)
    return place + np.random.default_rng(9).uniform(-0.4, 0.4, (count, antennas, 3))


def problem_of(is_complex):
    """An oblique case of 24 voxels, antennas as they stand, in double precision."""
    snapshots, _ = scene(5, grid=SMALL, users=4, occupied=4, antennas=scattered(SMALL, 2))
    return make_problem(
        snapshots, SMALL, radius=RADIUS, is_complex=is_complex, decorrelate=False,
        dtype=np.complex128,
    )  # fmt: skip


def long_matrix(problem):
    """The matrix of every sample and voxel; antennas of a station next to each other."""
    parts = (np.asarray(part) for part in (problem.cascade.user, problem.cascade.antenna))
    user, antenna = (part[..., 0, :, :] + 1j * part[..., 1, :, :] for part in parts)
    rows = []
    for k in range(user.shape[-2]):
        for b in range(antenna.shape[2]):
            for a in range(antenna.shape[3]):
                rows.append(user[0, 0, k] * antenna[0, 0, b, a])
    return np.stack(rows)[:, :VOXELS]


def hidden(view, behind, blocker):
    """Eqs. (3)-(5)."""
    ray, towards = behind - view, blocker - view
    away = np.linalg.norm(np.cross(towards, ray)) / np.linalg.norm(ray)
    ahead, nearer = towards @ ray > 0, np.linalg.norm(towards) < np.linalg.norm(ray) - 1e-6
    return away < RADIUS and ahead and nearer


def sight_of(problem, x, threshold):
    centre, view = SMALL.centres(), np.asarray(problem.view)
    blockers = [centre[n] for n in range(VOXELS) if abs(x[n]) > threshold]
    return np.array(
        [[not any(hidden(v, c, blocker) for blocker in blockers) for c in centre] for v in view]
    )


class Prior:
    """Bernoulli-Gaussian with its steps of expectation-maximisation, one coefficient at a time."""

    def __init__(self, rate, size, is_complex):
        self.rate, self.mean, self.size, self.is_complex = rate, 0.0, size, is_complex

    def estimate(self, value, precision):
        """Of a coefficient with the complex value r and its precision."""
        if precision <= 0:
            square = abs(self.mean) ** 2
            varies = self.rate * self.size + self.rate * (1 - self.rate) * square
            return self.rate * self.mean, varies, self.rate, self.mean, self.size
        noise = 1 / precision if self.is_complex else 0.5 / precision
        total, power = noise + self.size, 1.0 if self.is_complex else 0.5
        here = total**-power * np.exp(-power * abs(value - self.mean) ** 2 / total)
        absent = noise**-power * np.exp(-power * abs(value) ** 2 / noise)
        present = self.rate * here / (self.rate * here + (1 - self.rate) * absent)
        mean = (self.size * value + noise * self.mean) / total
        varies = self.size * noise / total
        second = present * (varies + abs(mean) ** 2)
        return present * mean, second - abs(present * mean) ** 2, present, mean, varies

    def learn(self, found):
        present = np.array([each[2] for each in found])
        mean, varies = (np.array([each[i] for each in found]) for i in (3, 4))
        self.rate = present.sum() / len(found)
        self.mean = (present * mean).sum() / present.sum()
        spread = (present * (abs(mean - self.mean) ** 2 + varies)).sum() / present.sum()
        self.size = max(spread, 1e-3 * (abs(self.mean) ** 2 + spread))


def first_prior(problem, y, rate):
    noise, power = float(problem.noise), np.mean(np.abs(y) ** 2)
    rate = min(rate, 0.2 * len(y) * (1 if problem.is_complex else 2) / VOXELS)
    size = max(power - noise, 0.01 * power) * len(y) / (rate * VOXELS)
    return Prior(rate, size, problem.is_complex), noise


def learnt_noise(y, predicted, spread, noise):
    """Posterior of every sample without noise: its misfit and variance."""
    after = predicted + spread / (spread + noise) * (y - predicted)
    return np.mean(np.abs(y - after) ** 2 + spread * noise / (spread + noise))


def twin_of_mvsvr(problem, iterations, threshold):
    """GAMP-MVSVR: the listing of its steps, loops over samples and voxels."""
    matrix, y = long_matrix(problem), np.asarray(problem.received).reshape(-1)
    prior, noise = first_prior(problem, y, 0.05)
    users, stations_, antennas = problem.received.shape[1:]
    x, varies, s = np.zeros(VOXELS, complex), np.full(VOXELS, prior.rate * prior.size), 0 * y
    trace = []
    for _ in range(iterations):
        sight = sight_of(problem, x, threshold)
        both = sight[:users, None] & sight[None, users:]
        c = matrix * np.repeat(both.reshape(users * stations_, VOXELS), antennas, axis=0)
        spread = np.array([sum(abs(row) ** 2 * varies) for row in c])
        predicted = np.array([sum(row * x) for row in c]) - spread * s
        s, precision = (y - predicted) / (spread + noise), 1 / (spread + noise)
        noise = learnt_noise(y, predicted, spread, noise)
        found = []
        for n in range(VOXELS):
            certain = sum(abs(c[:, n]) ** 2 * precision)
            towards = sum(np.conj(c[:, n]) * s)
            towards = towards if problem.is_complex else towards.real
            value = x[n] + towards / certain if certain > 0 else 0.0
            found.append(prior.estimate(value, certain))
        x, varies = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        prior.learn(found)
        trace.append((x, varies, sight))
    return trace


def twin_of_big_amp(problem, iterations, visible):
    """BiG-AMP: Table III line by line, one column of coefficients, entries there or not."""
    matrix, y = long_matrix(problem), np.asarray(problem.received).reshape(-1)
    prior, noise = first_prior(problem, y, 0.05)
    x, varies, s = np.zeros(VOXELS, complex), np.full(VOXELS, prior.rate * prior.size), 0 * y
    entry = visible * matrix
    unsure = visible * (1 - visible) * abs(matrix) ** 2
    trace = []
    for _ in range(iterations):
        plain = entry @ x
        caused = abs(entry) ** 2 @ varies + unsure @ abs(x) ** 2
        spread = caused + unsure @ varies
        predicted = plain - caused * s
        after = predicted + spread * (y - predicted) / (spread + noise)
        remains = spread * noise / (spread + noise)
        precision = (1 - remains / spread) / spread
        s = (after - predicted) / spread
        noise = np.mean(abs(y - after) ** 2 + remains)
        found, probable = [], np.empty(matrix.shape)
        for n in range(VOXELS):
            certain = sum(abs(entry[:, n]) ** 2 * precision)
            own = x[n] * (1 - sum(unsure[:, n] * precision) / certain)
            towards = sum(np.conj(entry[:, n]) * s) / certain
            towards = towards if problem.is_complex else towards.real
            found.append(prior.estimate(own + towards, certain))
            for q in range(len(y)):
                c, a, certain = matrix[q, n], entry[q, n], abs(x[n]) ** 2 * precision[q]
                if certain > 0:
                    seen = a * (1 - varies[n] * precision[q] / certain)
                    seen += np.conj(x[n]) * s[q] / certain
                    odds = (abs(seen) ** 2 - abs(seen - c) ** 2) * certain
                else:  # the limit of the same
                    odds = -2 * (np.conj(c) * a).real * varies[n] * precision[q]
                probable[q, n] = visible / (visible + (1 - visible) * np.exp(-odds))
        entry, unsure = probable * matrix, probable * (1 - probable) * abs(matrix) ** 2
        x, varies = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        prior.learn(found)
        trace.append((x, varies, probable))
    return trace


@pytest.mark.parametrize("is_complex", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_mvsvr_is_its_listing_at_every_iteration(is_complex):
    problem = problem_of(is_complex)
    twin = twin_of_mvsvr(problem, 7, 0.1)
    for count in (1, 2, 3, 7):
        found = GampMvsvr(iterations=count, tolerance=0.0).run(problem)
        mean, varies, sight = twin[count - 1]
        assert np.allclose(found.mean, mean, rtol=0, atol=1e-9 * np.max(abs(mean)))
        assert np.allclose(found.variance, varies, rtol=1e-9, atol=1e-12)
        assert np.array_equal(np.asarray(found.open) > 0.5, sight)
    # By then something hides something, and not everything.
    assert 0 < np.mean(twin[-1][2]) < 1


@pytest.mark.parametrize("is_complex", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_big_amp_is_table_iii_at_every_iteration(is_complex):
    problem = problem_of(is_complex)
    twin = twin_of_big_amp(problem, 6, 0.8)
    for count in (1, 2, 3, 6):
        found = BigAmp(iterations=count, tolerance=0.0).run(problem)
        mean, varies, probable = twin[count - 1]
        assert np.allclose(found.mean, mean, rtol=0, atol=1e-9 * np.max(abs(mean)))
        assert np.allclose(found.variance, varies, rtol=1e-8, atol=1e-12)
        is_open = np.asarray(found.open)
        assert np.allclose(is_open, probable, rtol=0, atol=1e-9)
    assert np.min(twin[-1][2]) < 0.5 < np.max(twin[-1][2])


@pytest.fixture(scope="module", params=["scattered", "compact"])
def seen(request):
    """Eight users, three stations of sixteen antennas, far apart or half a wavelength."""
    compact = stations(GRID, 3, rows=4, columns=4)
    antennas = scattered(GRID, 3, 16) if request.param == "scattered" else compact
    return request.param, *scene(5, users=8, antennas=antennas)


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "least"), [(GampMvsvr(), -33.0), (BigAmp(), -20.0)])
def test_far_antennas_are_solved_and_compact_arrays_diverge_honestly(seen, solver, least):
    """As published they diverge on half-wavelength arrays; the status says so."""
    arrays, snapshots, truth = seen
    found = image(snapshots, GRID, solver=solver)
    assert np.all(np.isfinite(found.mean))
    if arrays == "compact":
        assert found.status is ImageStatus.DIVERGED
        assert not found.certificate.holds
        return
    assert error_db(found, truth) < least
    certified = isinstance(solver, GampMvsvr)  # BiG-AMP has no geometry and keeps wandering
    assert found.certificate.holds == certified
    assert (found.status is ImageStatus.CONVERGED) == certified


def test_a_matrix_too_large_for_big_amp_is_refused(monkeypatch):
    monkeypatch.setattr(published, "LARGEST_MATRIX", 60_000)
    snapshots, _ = scene(users=6)
    with pytest.raises(InputError, match="big-amp forms the matrix of 216 samples and 280 voxels"):
        image(snapshots, GRID, solver=BigAmp())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GampMvsvr(iterations=0), "iterations must be at least one; got 0"),
        (lambda: GampMvsvr(rate=1.0), "rate must lie between 0 and 1; got 1"),
        (lambda: BigAmp(visible=0.0), "visible must lie between 0 and 1; got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
