"""A large problem cut down: the same columns, the same image, nothing left out for good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging import image, make_problem
from echoscape.imaging.gamp.solvers import gamp_settings, run_gamp
from echoscape.imaging.gamp.state import MaskModel
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import forward
from echoscape.imaging.support_search import screening
from echoscape.imaging.support_search import solver as visibility_solver
from echoscape.imaging.support_search.search import evaluate_candidates
from echoscape.imaging.support_search.support import refit
from tests.worlds.voxel_scenes import GRID, error_db, scene

FEW = 45


@pytest.fixture(scope="module")
def case():
    return scene(occupied=12, pilots=9)


@pytest.fixture
def short(monkeypatch):
    """Take the small grid for a large one."""
    monkeypatch.setattr(screening, "SCREENED", FEW)


def first_look(case):
    problem = make_problem(case[0], GRID)
    settings = gamp_settings(problem, mask_model=MaskModel.LEARNED, iterations=30)
    outcome = run_gamp(problem, settings, problem.fully_visible(alike=True))
    scene = visibility_solver._scene(problem, outcome)
    return problem, scene, visibility_solver._first_support(problem, scene, outcome, 32)


@pytest.mark.slow
def test_listed_columns_are_those_of_the_whole_problem(case, short, key):
    problem, scene, support = first_look(case)
    asked, cut, listed = screening.screen(problem, scene, support)
    assert asked.active.voxels == FEW
    x = jax.random.normal(key, asked.cascade.padded, problem.cascade.real_type)
    # Beyond the last listed voxel the columns are zero, whatever the coefficient.
    among_all = asked.active.spread(asked.flat(x))
    room = problem.cascade.padded
    among_all = jnp.pad(among_all, (0, room[0] * room[1] - GRID.voxels)).reshape(room)
    expected = forward(problem.cascade, problem.fully_visible(), among_all)
    found = forward(asked.cascade, asked.fully_visible(), x)
    assert jnp.allclose(found, expected, atol=1e-5 * jnp.abs(expected).max(), rtol=0)
    whole, again = screening.restore(problem, cut, listed)
    assert np.array_equal(again.index, support.index)
    assert whole.active.index is None


@pytest.mark.slow
def test_the_list_holds_what_is_there(case, short):
    problem, scene, support = first_look(case)
    asked, _, _ = screening.screen(problem, scene, support)
    truth = case[1]
    there = np.flatnonzero((truth.coefficient != 0) & truth.in_range)
    assert np.all(np.isin(there, asked.active.index))


@pytest.mark.slow
def test_an_image_from_a_list_is_as_good(case, short):
    snapshots, truth = case
    problem = make_problem(snapshots, GRID)
    assert screening.is_large(problem)
    found = image(snapshots, GRID)
    there = truth.coefficient.reshape(GRID.shape) != 0
    in_range = truth.in_range.reshape(GRID.shape)
    assert np.array_equal(found.occupied() & in_range, there & in_range)
    assert error_db(found, truth) < -25
    assert found.certificate.holds


@pytest.mark.slow
def test_what_a_list_lacks_is_found_when_all_are_asked_again(case, short, monkeypatch):
    """The first list goes without an occupied voxel; the image has it nonetheless."""
    snapshots, truth = case
    strongest = int(np.argmax(np.where(truth.in_range, truth.coefficient, 0)))
    survey, asked = screening.survey, []

    def blind(scene, support):
        found = survey(scene, support)
        asked.append(scene)
        if len(asked) > 1:
            return found
        gain = found.gain.copy()
        gain[strongest] = -np.inf
        return found._replace(gain=gain)

    screen = screening.screen

    def without(problem, scene, support):
        if not asked:  # nor is it in the first image
            support = support.part(support.index != strongest)
        return screen(problem, scene, support)

    monkeypatch.setattr(screening, "survey", blind)
    monkeypatch.setattr(screening, "screen", without)
    found = image(snapshots, GRID)
    assert len(asked) > 1
    assert found.occupied().ravel()[strongest]
    assert error_db(found, truth) < -25


@pytest.mark.slow
def test_what_is_not_listed_is_not_called_occupied(case):
    _, scene, support = first_look(case)
    taken = support.index[np.argmax(support.value)]
    support = support.part(support.index != taken)
    evaluation = evaluate_candidates(scene, refit(scene, support))
    assert evaluation.pays[taken]
    assert evaluation.occupancy[taken] <= 0.5


def test_kept_voxels_keep_their_places(key):
    index = jnp.array([3, 17, 41, 200])
    active, all_of_it = ActiveVoxels(GRID.traced(), index), ActiveVoxels(GRID.traced())
    whole = jax.random.normal(key, (2, GRID.voxels))
    assert np.array_equal(active.pick(whole), whole[:, index])
    assert np.array_equal(all_of_it.pick(whole), whole)
    spread = active.spread(jnp.array([1.0, 2.0, 3.0, 4.0]))
    assert spread.shape == (GRID.voxels,)
    assert np.array_equal(active.pick(spread), [1.0, 2.0, 3.0, 4.0])
    assert float(spread.sum()) == 10
    assert np.allclose(active.centres_of(jnp.array([2])), GRID.centre_of(np.array([41])))
