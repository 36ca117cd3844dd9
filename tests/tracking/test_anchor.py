"""A virtual anchor predicts what mirroring finds, bounce by bounce, in oblique walls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import anchor as anchors
from echoscape.tracking.anchor import Kind, path_residual
from echoscape.tracking.bounce import one_wall_bounce
from echoscape.units import wrap_angle
from tests.worlds.walls import GROUND, STATION, WALLS, image_path

predict_path = jax.jit(anchors.predict_path)
predict_with_slope = jax.jit(anchors.predict_with_slope)
USER = np.array([-9.0, -17.0, 1.3])


def predict(anchor, turn, kind, sign=1.0, flip=1.0, user=USER):
    local = jnp.concatenate([jnp.asarray(user), jnp.asarray(anchor), jnp.array([turn])])
    return predict_path(
        local, jnp.array(int(kind)), jnp.array(sign), jnp.array(flip), jnp.asarray(STATION)
    )


@pytest.mark.parametrize("wall", WALLS)
def test_one_wall_needs_no_turn(wall):
    exact, image, points = image_path(USER, [wall])
    assert predict(image, 9.9, Kind.ONE_WALL) == pytest.approx(exact, abs=1e-9)
    bounce = one_wall_bounce(USER[None], image[None], STATION)
    assert bounce[0] == pytest.approx(points[0], abs=1e-9)


@pytest.mark.parametrize(
    ("planes", "kind", "flip"),
    [
        (WALLS[:2], Kind.EVEN, 1.0),
        (WALLS[:3], Kind.ODD, 1.0),
        ([GROUND, WALLS[2]], Kind.ONE_WALL, -1.0),
        ([WALLS[3], GROUND, WALLS[0]], Kind.EVEN, -1.0),
    ],
)
def test_a_turn_learnt_at_one_place_holds_at_another(planes, kind, flip):
    exact, image, _ = image_path(USER, planes)
    turn = wrap_angle(exact[3] - predict(image, 0.0, kind, flip=flip)[3])
    elsewhere = USER + np.array([7.0, -3.0, 0.2])
    exact, image, _ = image_path(elsewhere, planes)
    found = predict(image, turn, kind, flip=flip, user=elsewhere)
    assert path_residual(jnp.asarray(exact), found) == pytest.approx(np.zeros(5), abs=1e-9)


def test_the_station_is_its_own_anchor_and_a_scatterer_has_two_legs():
    exact, _, _ = image_path(USER, [])
    assert predict(STATION, 1.0, Kind.STATION) == pytest.approx(exact, abs=1e-12)
    point = np.array([3.0, 8.0, 5.0])
    found = predict(point, 0.0, Kind.SCATTERER)
    legs = np.linalg.norm(point - STATION) + np.linalg.norm(point - USER)
    assert found[0] == pytest.approx(legs)
    assert found[3] == pytest.approx(np.arctan2(*(point - STATION)[1::-1]))
    assert found[1] == pytest.approx(np.arctan2(*(point - USER)[1::-1]))


@pytest.mark.parametrize("kind", Kind)
def test_slopes_agree_with_differences(kind):
    anchor = STATION if kind == Kind.STATION else np.array([40.0, 5.0, 7.0])
    local = jnp.concatenate([jnp.asarray(USER), jnp.asarray(anchor), jnp.array([0.4])])
    rest = (jnp.array(int(kind)), jnp.array(-1.0), jnp.array(-1.0), jnp.asarray(STATION))
    predicted, slope = predict_with_slope(local, *rest)
    assert predicted == pytest.approx(np.asarray(predict_path(local, *rest)))
    step = 1e-5  # error of a central difference: step^2, round-off / step
    free = range(7) if kind != Kind.STATION else (0, 1, 2)
    for i in free:
        move = step * jnp.eye(7)[i]
        ahead, behind = (predict_path(local + s * move, *rest) for s in (1, -1))
        rise = path_residual(ahead, behind) / (2 * step)
        assert slope[:, i] == pytest.approx(np.asarray(rise), abs=1e-7)
    if kind == Kind.STATION:  # where the anchor never moves, its slopes must at least be finite
        assert jnp.isfinite(jax.jacfwd(lambda x: predict_path(x, *rest))(local)).all()
