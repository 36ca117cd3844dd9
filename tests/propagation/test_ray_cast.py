"""Rays through a tree of boxes against rays tried on every triangle."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.propagation.ray_cast import build_tree, cast, enclosed, sees
from echoscape.scene.mesh import make_mesh


@pytest.fixture(scope="module", params=["built-in", "embree"])
def soup(request):
    """Triangles in disorder, of all sizes and slopes."""
    if request.param == "embree":
        pytest.importorskip("embreex")
    rng = np.random.default_rng(4)
    corner = rng.uniform(-50, 50, (70, 1, 3)) + rng.normal(0, 9, (70, 3, 3))
    mesh = make_mesh(corner.reshape(-1, 3), np.arange(210).reshape(70, 3))
    return mesh, build_tree(mesh, native=request.param == "embree")


def brute(mesh, start, direction):
    """Solve ``start + t d = a + u e1 + v e2`` for every triangle."""
    best, face = np.inf, -1
    for number, (a, b, c) in enumerate(mesh.triangle):
        t, u, v = np.linalg.solve(np.stack([-direction, b - a, c - a], axis=1), start - a)
        if t > 0 and u >= 0 and v >= 0 and u + v <= 1 and t < best:
            best, face = t, number
    return best, face


@pytest.mark.slow
def test_every_ray_meets_what_trying_all_finds(soup):
    mesh, tree = soup
    rng = np.random.default_rng(1)
    start = rng.uniform(-60, 60, (300, 3))
    direction = rng.normal(size=(300, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    hit = cast(tree, jnp.asarray(start), jnp.asarray(direction))
    away, face = zip(*(brute(mesh, *ray) for ray in zip(start, direction)))
    assert np.array_equal(hit.face, face)
    assert 30 < np.sum(np.array(face) >= 0) < 290
    # single precision at 100 m: 1e-5 m, more where rays graze
    assert np.allclose(hit.distance, away, atol=2e-3)


def test_rays_stop_at_their_reach(soup):
    mesh, tree = soup
    centre = mesh.triangle[7].mean(axis=0)
    away = np.array([0.3, -0.5, 0.81])
    start = jnp.asarray(np.stack([centre + away] * 2))
    toward = jnp.asarray(np.stack([-away / np.linalg.norm(away)] * 2))
    length = np.linalg.norm(away)
    hit = cast(tree, start, toward, jnp.array([length - 0.01, length + 0.01]))
    assert hit.face.tolist() == [-1, 7]


def test_points_see_each_other_both_ways_or_not_at_all(soup):
    mesh, tree = soup
    rng = np.random.default_rng(9)
    ends = rng.uniform(-60, 60, (2, 200, 3))
    there = sees(tree, *map(jnp.asarray, ends))
    back = sees(tree, *map(jnp.asarray, ends[::-1]))
    assert np.array_equal(there, back)
    assert 20 < there.sum() < 180
    # a point on a triangle sees what is in front of it
    centre = mesh.triangle[3].mean(axis=0)
    near = centre + 0.05 * mesh.normal[3]
    assert sees(tree, jnp.asarray(centre[None]), jnp.asarray(near[None])).all()


def block(low, high):
    """Twelve triangles of a box."""
    corner = np.array([[[x, y, z] for z in (low[2], high[2])] for y in (low[1], high[1])
                       for x in (low[0], high[0])]).reshape(8, 3)  # fmt: skip
    side = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return corner, [face for a, b, c, d in side for face in ((a, b, c), (a, c, d))]


def test_a_house_encloses_and_a_street_and_a_bridge_do_not():
    houses = block((0, 0, 0), (13, 21, 17)), block((25, 0, 0), (40, 60, 30))
    bridge = block((-9, -30, 5), (-5, -10, 6))  # four metres wide, a slope leads out below it
    vertex = np.concatenate([corner for corner, _ in (*houses, bridge)]).astype(float)
    face = np.concatenate([8 * k + np.array(f) for k, (_, f) in enumerate((*houses, bridge))])
    tree = build_tree(make_mesh(vertex, face))
    inside = [[3.1, 4.2, 1.2], [12.5, 20.3, 16.0], [39.0, 1.0, 1.2]]
    outside = [[19.0, 11.0, 1.2], [-7.0, -20.0, 1.2], [3.1, 4.2, 18.0], [24.9, 30.0, 1.2]]
    found = enclosed(tree, jnp.array(inside + outside))
    assert found.tolist() == [True] * 3 + [False] * 4
