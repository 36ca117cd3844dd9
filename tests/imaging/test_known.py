"""Solvers that are told the truth: against plain least squares with the dense matrix."""

import numpy as np

from echoscape.imaging import make_problem
from echoscape.imaging.known import genie, realisable_oracle
from echoscape.imaging.operator.products import join
from echoscape.imaging.simulation import Truth
from tests.worlds.voxel_scenes import GRID, scene


def test_it_is_least_squares_with_the_dense_matrix():
    snapshots, truth = scene(4)
    problem = make_problem(snapshots, GRID, dtype=np.complex128)
    solver = genie(truth)
    found = solver.solve(problem)
    seen = solver.occupied[truth.in_range[solver.occupied]]
    user = np.asarray(join(problem.cascade.user))[0, 0][:, seen] * truth.user[:, seen]
    antenna = (
        np.asarray(join(problem.cascade.antenna))[0, 0][..., seen] * truth.station[:, None, seen]
    )
    dense = np.einsum("kn,ban->kban", user, antenna).reshape(-1, len(seen))
    y = np.asarray(problem.received).reshape(-1)
    halves = np.real(y), np.imag(y)
    split = np.concatenate([dense.real, dense.imag]), np.concatenate(halves)
    exact = np.linalg.lstsq(*split, rcond=None)[0]
    # The wide prior pulls by some 1e-5 of a coefficient.
    assert np.allclose(found.mean[seen], exact, atol=1e-4)
    spread = 0.5 * float(problem.noise) * np.diagonal(np.linalg.inv(split[0].T @ split[0]))
    assert np.allclose(found.variance[seen], spread, rtol=1e-3)
    # What the fit left, over the noise and over the samples that were left to it.
    left = np.sum(np.abs(y - dense @ exact) ** 2) / float(problem.noise)
    assert np.isclose(found.misfit, left / (len(y) - 0.5 * len(seen)), rtol=1e-3)


def test_what_nobody_sees_hides_nothing_for_the_realisable_one():
    """Voxel 1 stands behind voxel 0 for everyone; it closes the user's segment to voxel 2 alone."""
    coefficient = np.zeros(GRID.voxels)
    index = np.array([GRID.voxels // 2, GRID.voxels // 2 + 1])
    coefficient[index] = 0.5
    user = np.ones((1, GRID.voxels), bool)
    station = np.ones((1, GRID.voxels), bool)
    user[0, index[1]] = False  # out of range, though occupied
    user[0, 3] = False
    truth = Truth(coefficient, user, station)
    view = np.array([[-40.0, 5.0, 3.0], [60.0, 5.0, 3.1]])
    told = realisable_oracle(truth, GRID, view, 0.45)
    assert told.occupied.tolist() == [index[0]]
    assert told.user[0, 3]
    assert genie(truth).occupied.tolist() == index.tolist()
    assert not genie(truth).user[0, 3]
