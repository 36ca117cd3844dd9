"""A large problem cut down: the same columns, the same image, nothing left out for good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging import image, make_problem
from echoscape.imaging.gamp.solvers import pass_messages, settings_for
from echoscape.imaging.gamp.state import Sight
from echoscape.imaging.operator.active_voxels import Kept
from echoscape.imaging.operator.cascade import forward
from echoscape.imaging.support_search import screening as shortlist
from echoscape.imaging.support_search import solver as visibility_bits
from echoscape.imaging.support_search.search import paint
from echoscape.imaging.support_search.support import refit
from tests.worlds.voxel_scenes import GRID, error_db, scene

FEW = 45


@pytest.fixture(scope="module")
def case():
    return scene(occupied=12, pilots=9)


@pytest.fixture
def short(monkeypatch):
    """Take the small grid for a large one."""
    monkeypatch.setattr(shortlist, "KEPT", FEW)


def first_look(case):
    problem = make_problem(case[0], GRID)
    settings = settings_for(problem, sight=Sight.BITS, iterations=30)
    outcome = pass_messages(problem, settings, problem.everything_seen(alike=True))
    scene = visibility_bits._scene(problem, outcome)
    return problem, scene, visibility_bits._first_support(problem, scene, outcome, 32)


@pytest.mark.slow
def test_listed_columns_are_those_of_the_whole_problem(case, short, key):
    problem, scene, support = first_look(case)
    asked, cut, listed = shortlist.shorten(problem, scene, support)
    assert asked.kept.voxels == FEW
    x = jax.random.normal(key, asked.cascade.padded, problem.cascade.real_type)
    # Beyond the last listed voxel the columns are zero, whatever the coefficient.
    among_all = jnp.reshape(asked.kept.spread(asked.flat(x)), problem.cascade.padded)
    expected = forward(problem.cascade, problem.everything_seen(), among_all)
    found = forward(asked.cascade, asked.everything_seen(), x)
    assert jnp.allclose(found, expected, atol=1e-5 * jnp.abs(expected).max(), rtol=0)
    whole, again = shortlist.lengthen(problem, cut, listed)
    assert np.array_equal(again.index[again.valid], support.index[support.valid])
    assert whole.kept.index is None


def test_the_list_holds_what_is_there(case, short):
    problem, scene, support = first_look(case)
    asked, _, _ = shortlist.shorten(problem, scene, support)
    truth = case[1]
    there = np.flatnonzero((truth.coefficient != 0) & truth.in_range)
    assert np.all(np.isin(there, asked.kept.index))


@pytest.mark.slow
def test_an_image_from_a_list_is_as_good(case, short):
    snapshots, truth = case
    problem = make_problem(snapshots, GRID)
    assert shortlist.is_large(problem)
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
    survey, asked = shortlist._survey, []

    def blind(scene, support):
        found = survey(scene, support)
        asked.append(scene)
        if len(asked) > 1:
            return found
        return found._replace(gain=found.gain.at[strongest].set(-jnp.inf))

    shorten = shortlist.shorten

    def without(problem, scene, support):
        if not asked:  # nor is it in the first image
            support = support._replace(valid=support.valid & (support.index != strongest))
        return shorten(problem, scene, support)

    monkeypatch.setattr(shortlist, "_survey", blind)
    monkeypatch.setattr(shortlist, "shorten", without)
    found = image(snapshots, GRID)
    assert len(asked) > 1
    assert found.occupied().ravel()[strongest]
    assert error_db(found, truth) < -25


@pytest.mark.slow
def test_what_is_not_listed_is_not_called_occupied(case):
    _, scene, support = first_look(case)
    taken = support.index[jnp.argmax(jnp.where(support.valid, support.value, 0))]
    support = support._replace(valid=support.valid & (support.index != taken))
    painted = paint(scene, refit(scene, support))
    assert painted.pays[taken]
    assert painted.occupancy[taken] <= 0.5


def test_kept_voxels_keep_their_places(key):
    index = jnp.array([3, 17, 41, 200])
    kept, all_of_it = Kept(GRID, index), Kept(GRID)
    whole = jax.random.normal(key, (2, GRID.voxels))
    assert np.array_equal(kept.pick(whole), whole[:, index])
    assert np.array_equal(all_of_it.pick(whole), whole)
    spread = kept.spread(jnp.array([1.0, 2.0, 3.0, 4.0]))
    assert spread.shape == (GRID.voxels,)
    assert np.array_equal(kept.pick(spread), [1.0, 2.0, 3.0, 4.0])
    assert float(spread.sum()) == 10
    assert np.allclose(kept.centres_of(jnp.array([2])), GRID.centre_of(np.array([41])))
