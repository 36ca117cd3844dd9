"""A virtual anchor predicts what mirroring finds, bounce by bounce, in oblique walls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import anchor as anchors
from echoscape.tracking.anchor import AnchorType, path_residual
from echoscape.tracking.bounce import one_wall_bounce
from echoscape.units import wrap_angle
from tests.worlds.walls import GROUND, STATION, WALLS, image_path

predict_path = jax.jit(anchors.predict_path)
predict_measured = jax.jit(anchors.predict_measured)
predict_with_slope = jax.jit(anchors.predict_with_slope)
USER = np.array([-9.0, -17.0, 1.3])


def predict(anchor, turn, kind, reflection=1.0, vertical_reflection=1.0, user=USER):
    local = jnp.concatenate([jnp.asarray(user), jnp.asarray(anchor), jnp.array([turn])])
    return predict_path(
        local,
        jnp.array(int(kind)),
        jnp.array(reflection),
        jnp.array(vertical_reflection),
        jnp.asarray(STATION),
    )


@pytest.mark.parametrize("wall", WALLS)
def test_one_wall_needs_no_turn(wall):
    exact, image, points = image_path(USER, [wall])
    assert predict(image, 9.9, AnchorType.ONE_WALL) == pytest.approx(exact, abs=1e-9)
    bounce = one_wall_bounce(USER[None], image[None], STATION)
    assert bounce[0] == pytest.approx(points[0], abs=1e-9)


@pytest.mark.parametrize(
    ("planes", "kind", "vertical_reflection"),
    [
        (WALLS[:2], AnchorType.EVEN, 1.0),
        (WALLS[:3], AnchorType.ODD, 1.0),
        ([GROUND, WALLS[2]], AnchorType.ONE_WALL, -1.0),
        ([WALLS[3], GROUND, WALLS[0]], AnchorType.EVEN, -1.0),
    ],
)
def test_a_turn_learnt_at_one_place_holds_at_another(planes, kind, vertical_reflection):
    exact, image, _ = image_path(USER, planes)
    turn = wrap_angle(
        exact[3] - predict(image, 0.0, kind, vertical_reflection=vertical_reflection)[3]
    )
    elsewhere = USER + np.array([7.0, -3.0, 0.2])
    exact, image, _ = image_path(elsewhere, planes)
    found = predict(image, turn, kind, vertical_reflection=vertical_reflection, user=elsewhere)
    assert path_residual(jnp.asarray(exact), found) == pytest.approx(np.zeros(5), abs=1e-9)


def test_the_station_is_its_own_anchor_and_a_scatterer_has_two_legs():
    exact, _, _ = image_path(USER, [])
    assert predict(STATION, 1.0, AnchorType.STATION) == pytest.approx(exact, abs=1e-12)
    point = np.array([3.0, 8.0, 5.0])
    found = predict(point, 0.0, AnchorType.SCATTERER)
    legs = np.linalg.norm(point - STATION) + np.linalg.norm(point - USER)
    assert found[0] == pytest.approx(legs)
    assert found[3] == pytest.approx(np.arctan2(*(point - STATION)[1::-1]))
    assert found[1] == pytest.approx(np.arctan2(*(point - USER)[1::-1]))


def test_turning_user_map_and_start_changes_nothing_that_the_array_measures():
    # what an unknown heading cannot tell: in the array's frame a free rotation carries none of it
    pivot = jnp.array([-4.0, 2.0])
    frame = jnp.asarray(STATION), pivot
    user, anchor = jnp.asarray(USER), jnp.array([40.0, 5.0, 7.0])
    shared = jnp.concatenate([user, jnp.array([1.5, 0.2, -0.1])])
    local = jnp.concatenate([shared, anchor, jnp.array([0.4])])
    one = jnp.array(1.0)
    even = predict_measured(local, jnp.array(int(AnchorType.EVEN)), one, one, *frame)
    other = predict_measured(
        local.at[4].add(0.7), jnp.array(int(AnchorType.EVEN)), one, one, *frame
    )
    assert np.asarray(other) == pytest.approx(np.asarray(even), abs=1e-12)
    # line of sight, with the user turned back into the site's frame, as mirrors have it
    here = np.r_[pivot + anchors.rotate(user[:2] - pivot, jnp.array(0.2)), USER[2]]
    exact, _, _ = image_path(here, [])
    seen = np.asarray(predict_measured(local, jnp.array(int(AnchorType.STATION)), one, one, *frame))
    exact = exact + np.array([1.5, -0.2, 0.0, -0.1, 0.0])
    assert path_residual(jnp.asarray(seen), jnp.asarray(exact)) == pytest.approx(
        np.zeros(5), abs=1e-9
    )


@pytest.mark.parametrize("kind", AnchorType)
def test_slopes_agree_with_differences(kind):
    anchor = STATION if kind == AnchorType.STATION else np.array([40.0, 5.0, 7.0])
    shared = jnp.concatenate([jnp.asarray(USER), jnp.array([1.5, 0.2, -0.1])])
    local = jnp.concatenate([shared, jnp.asarray(anchor), jnp.array([0.4])])
    rest = (jnp.array(int(kind)), jnp.array(-1.0), jnp.array(-1.0), jnp.asarray(STATION),
            jnp.array([-4.0, 2.0]))  # fmt: skip
    predicted, slope = predict_with_slope(local, *rest)
    assert predicted == pytest.approx(np.asarray(predict_measured(local, *rest)))
    step = 1e-5  # error of a central difference: step^2, round-off / step
    for i in range(10):
        move = step * jnp.eye(10)[i]
        ahead, behind = (predict_measured(local + s * move, *rest) for s in (1, -1))
        rise = path_residual(ahead, behind) / (2 * step)
        assert slope[:, i] == pytest.approx(np.asarray(rise), abs=1e-7)
