"""Targets on their way: places, headings, points that rotate or swing, gaps."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model.cross_section import ConstantSection
from echoscape.channel_model.target import check_gaps, make_target, motion_at
from echoscape.channel_model.target_types import TargetType, target_type
from echoscape.checks import InputError

ONE = ConstantSection(jnp.asarray(1.0))
TIME = np.array([0.0, 1.0, 2.0, 3.0])
PLACE = np.array([[1.0, 2.0, 0.5], [1.0, 3.0, 0.5], [1.0, 4.0, 0.5], [1.0, 5.0, 0.5]])


def test_points_keep_their_place_beside_a_target_that_goes_north():
    kind = TargetType(jnp.array([[2.0, 0.5, 0.3]]), (ONE,))  # ahead, left, up
    place, speed, turn = motion_at(make_target(TIME, PLACE, kind), jnp.array([0.5, 2.25]))
    assert np.allclose(place[:, 0], [[0.5, 4.5, 0.8], [0.5, 6.25, 0.8]], atol=1e-12)
    assert np.allclose(speed[:, 0], [0.0, 1.0, 0.0], atol=1e-12)
    assert np.allclose(turn[0, 0] @ jnp.array([1.0, 0, 0]), [0.0, 1.0, 0.0], atol=1e-12)


def test_a_rotating_and_a_swinging_point_move_as_stated_and_so_do_their_velocities():
    kind = TargetType(
        jnp.array([[0.1, 0.0, 1.0], [0.0, 0.2, 0.0]]), (ONE, ONE),
        spin=jnp.array([[0.4, 3.0, 0.2], [0.0, 0.0, 0.0]]),
        swing=jnp.array([[0.0, 0.0, 0.0], [0.3, 0.9, -0.5]]),
    )  # fmt: skip
    target, t, step = make_target(TIME, PLACE, kind), 1.37, 1e-6
    place, speed, _ = motion_at(target, jnp.array([t - step, t, t + step]))
    angle = 2 * np.pi * 3.0 * t + 0.2
    own = np.array([0.1 + 0.4 * np.cos(angle), 0.4 * np.sin(angle), 1.0])
    centre = np.array([1.0, 2.0 + t, 0.5])
    assert np.allclose(place[1, 0], centre + np.array([-own[1], own[0], own[2]]), atol=1e-9)
    ahead = 0.3 * np.sin(2 * np.pi * 0.9 * t - 0.5)
    assert np.allclose(place[1, 1], centre + np.array([-0.2, ahead, 0.0]), atol=1e-9)
    assert np.allclose(speed[1], (place[2] - place[0]) / (2 * step), atol=1e-6)


def test_a_standing_target_looks_where_it_went_or_as_stated():
    kind = target_type("constant")
    stopped = np.array([[0.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0]])
    velocity = np.array([[-1.0, 0, 0], [-1.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]])
    target = make_target(TIME, stopped, kind, velocity=velocity)
    assert np.allclose(np.cos(target.heading), -1.0)
    stated = make_target(TIME[:1], PLACE[:1], kind, heading=np.array([0.3]))
    assert np.allclose(stated.heading, 0.3)
    assert np.allclose(motion_at(stated, jnp.array([0.0, 99.0]))[0][:, 0], PLACE[0])


def test_a_gap_of_minutes_and_times_outside_are_refused():
    late = np.array([0.0, 1.0, 181.0, 182.0])
    target = make_target(late, PLACE, target_type("constant"))
    with pytest.raises(InputError, match=r"no place between 1 and 181 s, a gap of 180 s"):
        check_gaps(target, 0.0, 182.0, "target 4")
    check_gaps(target, 0.0, 1.0, "target 4")  # on one side of it
    with pytest.raises(InputError, match=r"target 4 is known from 0 to 182 s, but 0 to 200 s"):
        check_gaps(target, 0.0, 200.0, "target 4")
    check_gaps(make_target(TIME[:1], PLACE[:1], target_type("constant")), 0.0, 1e4, "a stone")
