"""Moving bounce points: closed forms of the start, and five filters on one path."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking.bounce_filters import PathHistory, follow_bounces
from echoscape.tracking.bounce_state import (
    class_error,
    last_bounce,
    measure_bounces,
    transition,
)
from echoscape.units import wrap_angle
from tests.worlds.walls import STATION, WALLS, image_path, route

USER = np.array([-9.0, -17.0, 1.3])


def walked(planes):
    """Add up the legs: the length of the image's ray if every bounce lies ahead."""
    points = [STATION, *image_path(USER, planes)[2], USER]
    return sum(np.linalg.norm(q - p) for p, q in itertools.pairwise(points))


PAIR = next(
    list(pair)
    for pair in itertools.permutations(WALLS, 2)
    if np.isclose(image_path(USER, list(pair))[0][0], walked(list(pair)))
)
STD = np.array([0.3, np.radians(1.0), np.radians(1.0), np.radians(0.5), np.radians(0.5)])


def close(measured, first):
    given = [jnp.asarray(x) for x in (*measured[:3], first, STATION, USER)]
    point, single = last_bounce(*given, jnp.asarray(1.0))
    return np.asarray(point), bool(single)


def test_last_bounce_of_one_and_of_two_walls_is_exact():
    measured, _, points = image_path(USER, [WALLS[2]])
    point, single = close(measured, points[0])
    assert single
    assert point == pytest.approx(points[0], abs=1e-6)
    measured, _, points = image_path(USER, PAIR)
    point, single = close(measured, points[0])
    assert not single
    assert point == pytest.approx(points[1], abs=1e-6)


def test_the_class_is_wrong_as_often_as_stated():
    rng = np.random.default_rng(0)
    miss = 0.7 * rng.normal(size=(40000, 2))
    wrong = np.mean(np.hypot(*miss.T) > 1.5)
    assert class_error(0.7, 1.5) == pytest.approx(wrong, abs=0.006)  # 4 standard errors


def test_a_state_measures_what_its_points_say():
    measured, _, points = image_path(USER, PAIR)
    state = np.zeros(18)
    state[:3], state[6:9], state[12:15] = USER, points[0], points[1]
    between = np.linalg.norm(points[1] - points[0])
    found = measure_bounces(jnp.asarray(state), jnp.asarray(STATION), jnp.asarray(between))
    assert np.asarray(found) == pytest.approx(measured, abs=1e-9)
    moved = transition(jnp.asarray(0.2)) @ jnp.asarray(state).at[9:12].set(jnp.array([1.0, 2, 3]))
    assert moved[6:9] == pytest.approx(points[0] + np.array([0.2, 0.4, 0.6]))


@pytest.fixture(scope="module")
def path():
    """One path of two walls along a straight walk, and where it starts."""
    time, user, velocity = route(40)
    user, time = user[:20], time[:20]
    traced = [image_path(place, PAIR) for place in user]
    exact = np.array([each[0] for each in traced])
    first, last = (np.array([each[2][k] for each in traced]) for k in (0, 1))
    step = time[1] - time[0]
    state = np.zeros(18)
    for k, place in ((0, user), (6, first), (12, last)):
        state[k : k + 3] = place[0]
        state[k + 3 : k + 6] = (place[1] - place[0]) / step
    state[3:6] = velocity
    between = np.linalg.norm(last[0] - first[0])
    noisy = exact + STD * np.random.default_rng(7).normal(size=exact.shape)
    return exact, noisy, state, between, step


@pytest.mark.parametrize(
    ("method", "share"),
    [
        ("bootstrap", 0.8),
        pytest.param("rao-blackwellised", 0.8, marks=pytest.mark.slow),
        ("extended", 0.7),
        pytest.param("unscented", 0.7, marks=pytest.mark.slow),
    ],
)
def test_filters_beat_what_they_are_given(path, key, method, share):
    exact, noisy, state, between, step = path
    history = PathHistory(
        jnp.asarray(noisy), jnp.asarray(np.tile(STD, (20, 1))), jnp.ones(20, bool)
    )
    std = jnp.asarray(np.repeat([0.05, 0.05, 0.3, 0.1, 0.3, 0.1], 3))

    @jax.jit
    def run(key):
        states = follow_bounces(
            history, jnp.asarray(state), std, jnp.asarray(STATION), jnp.asarray(between),
            jnp.asarray(step), method, 400, key=key,
        )  # fmt: skip
        beyond = jnp.asarray(between)
        return jax.vmap(measure_bounces, (0, None, None))(states, jnp.asarray(STATION), beyond)

    found = np.asarray(run(key))
    assert np.isfinite(found).all()
    # the first instant carries the start's own error
    wrong = wrap_angle(found - exact)[1:] / STD
    raw = (noisy - exact)[1:] / STD
    assert np.sqrt(np.mean(wrong**2)) < share * np.sqrt(np.mean(raw**2))


def test_the_papers_delay_weighs_nothing(path, key):
    _, noisy, state, between, step = path
    std = jnp.full(18, 0.1)
    longer = noisy + np.array([30.0, 0, 0, 0, 0])  # 100 ns: large, but not beside radians

    @jax.jit
    def run(measured):
        history = PathHistory(measured, jnp.ones((20, 5)), jnp.ones(20, bool))
        return follow_bounces(
            history, jnp.asarray(state), std, jnp.asarray(STATION), jnp.asarray(between),
            jnp.asarray(step), "paper", 300, key=key,
        )  # fmt: skip

    assert np.allclose(run(jnp.asarray(noisy)), run(jnp.asarray(longer)), atol=1e-12)
