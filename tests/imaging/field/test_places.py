"""Places: the cheap score against the exact one, and links hidden by geometry."""

import jax.numpy as jnp
import numpy as np

from echoscape.imaging.field.links import Nuisance, Scene
from echoscape.imaging.field.places import OPEN_FREE, OPEN_HIDDEN, Places, prior_open, screen
from echoscape.imaging.field.search import empty
from echoscape.imaging.occlusion.segments import hides
from tests.worlds.voxel_scenes import GRID, stations

TONES = 28e9 + 400e6 * ((np.arange(8) + 0.5) / 8 - 0.5)


def field(seed=1):
    generator = np.random.default_rng(seed)
    user = generator.uniform(GRID.origin, GRID.upper, (5, 3))
    blank = np.zeros((8, 5, 3, 12), complex)
    return Scene(blank, TONES, user, stations(GRID, 3), np.full(5, 1e4))


def test_hidden_links_are_those_of_the_rule_of_pairs():
    scene = field()
    generator = np.random.default_rng(2)
    blocker, at = (generator.uniform(GRID.origin, GRID.upper, (n, 3)) for n in (6, 40))
    still = Nuisance(np.zeros((5, 3)), np.zeros(5))
    found = prior_open(scene, still, blocker, at, 0.45)

    def hidden(view):
        parts = (view[None, None], at[:, None], blocker[None])
        behind = np.asarray(hides(*(jnp.asarray(part) for part in parts), 0.45))
        # A blocker within half a radius of the place itself is taken to be that place.
        nearer = np.linalg.norm(blocker - view, axis=1)
        length = np.linalg.norm(at - view, axis=1)
        return np.any(behind & (nearer[None] < length[:, None] - 0.225), 1)

    for views, each in ((scene.user, found.user), (scene.station, found.station)):
        for view, said in zip(views, each, strict=True):
            assert np.array_equal(said, np.where(hidden(view), OPEN_HIDDEN, OPEN_FREE))
        assert 0 < np.mean(each == OPEN_HIDDEN) < 1
    assert np.array_equal(found.link()[2, 1], found.user[2] * found.station[1])


def test_the_best_place_is_next_to_the_only_point():
    scene = field(4)
    places = Places(scene, GRID)
    from echoscape.imaging.field.links import factors_of

    point = GRID.centre_of(np.array([140])) + np.array([[0.2, -0.1, 0.15]])
    cloud = empty(scene)
    factors = factors_of(scene, cloud.nuisance, point)
    phase = np.exp(2j * np.pi * np.random.default_rng(0).uniform(size=(5, 3, 1)))
    received = np.einsum("fks,kbs,fbas->fkba", factors.user, phase, factors.antenna)
    scene = scene._replace(channel=received)
    cloud = empty(scene)
    score = screen(scene, cloud, factors_of(scene, cloud.nuisance, cloud.point), places, 0.45)
    best = places.place[np.argmax(score)]
    assert np.linalg.norm(best - point[0]) < places.step


def test_points_that_leave_the_grid_are_moved_to_its_surface():
    places = Places(field(), GRID)
    low, high = np.asarray(GRID.origin), np.asarray(GRID.upper)
    moved = places.inside(np.array([low - 1.0, high + 3.0, 0.5 * (low + high)]))
    assert np.all(GRID.index_of(moved) >= 0)
    assert np.allclose(moved, [low, high, 0.5 * (low + high)], atol=1e-5)
