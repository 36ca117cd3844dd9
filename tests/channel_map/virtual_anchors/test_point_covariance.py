"""Covariances of static points agree with the errors that the map predicts from them."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import VirtualAnchorMap, load_maps
from echoscape.scene import PointKind, image_of_user, rotation_matrix

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "data" / "maps_0.1" / "virtual_anchors"
PLACE = np.array([-20.0, 4.0, 1.5])


@pytest.fixture(scope="module")
def known():
    (loaded,) = load_maps(FOLDER).values()
    assert isinstance(loaded, VirtualAnchorMap)
    local = jax.tree.map(np.asarray, loaded.around(jnp.asarray(PLACE)))
    return loaded, local, jax.tree.map(np.asarray, local(jnp.asarray(PLACE)))


def test_lengths_err_as_the_covariance_of_offset_and_rotation_says(known):
    loaded, _, prior = known
    points = loaded.static_points()
    station = np.asarray(loaded.station_position)
    image = image_of_user(points, PLACE, station) - station
    level = image[:, :2] / np.linalg.norm(image[:, :2], axis=1)[:, None]
    moved = np.einsum("pij,j->pi", rotation_matrix(points), PLACE[:2])
    lever = np.stack([-moved[:, 1], moved[:, 0]], -1)
    covariance = np.asarray(points.covariance)
    slope = np.concatenate([np.broadcast_to(np.eye(2), (len(points), 2, 2)), lever[..., None]], 2)
    plane = slope @ covariance[:, [[0], [1], [3]], [0, 1, 3]] @ np.swapaxes(slope, 1, 2)
    variance = np.einsum("pi,pij,pj->p", level, plane, level)
    checked = 0
    for k in np.flatnonzero(points.kind == PointKind.VIRTUAL_ANCHOR):
        length = np.linalg.norm(image[k])
        slot = np.argmin(np.abs(prior.length - length))
        # The error of a path known from arrival angles grows in ways that four numbers do not hold.
        if abs(prior.length[slot] - length) > 1e-9 or loaded.error.stretch_variance[k]:
            continue
        np.testing.assert_allclose(prior.covariance[slot, 2, 2], variance[k], rtol=1e-6)
        checked += 1
    assert checked >= 3


def test_a_point_s_gain_thins_out_with_the_squared_length(known):
    _, local, prior = known
    expected = local.points.log_gain - 2 * np.log(prior.length)
    np.testing.assert_allclose(np.log(prior.power), expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(prior.log_power_std, local.points.log_gain_std)


def test_an_image_observed_once_stands_and_its_error_grows_with_the_distance(known):
    loaded, _, _ = known
    single = np.flatnonzero(np.asarray(loaded.points.kind) == PointKind.UNDETERMINED)
    assert len(single)
    centre = np.asarray(loaded.error.centre)[single[0]]
    at, away = np.append(centre, 1.5), np.append(centre + np.array([3.0, -4.0]), 1.5)
    local = loaded.around(jnp.asarray(at))
    image = image_of_user(loaded.points, at, np.asarray(loaded.station_position))[single[0]]
    length = np.linalg.norm(image - np.asarray(loaded.station_position))
    first, second = local(jnp.asarray(at)), local(jnp.asarray(away))
    slot = int(np.argmin(np.abs(np.asarray(first.length) - length)))
    assert first.length[slot] == pytest.approx(length, abs=1e-6)
    assert second.length[slot] == pytest.approx(length, abs=1e-6)
    grown = np.asarray(second.covariance)[slot, 2, 2] - np.asarray(first.covariance)[slot, 2, 2]
    assert grown == pytest.approx(0.5 * 25.0, rel=1e-9)  # 0.5 of the squared distance


def test_the_rotation_of_a_path_observed_once_is_unknown(known):
    loaded, _, _ = known
    points = loaded.static_points()
    unknown = points.kind == PointKind.UNDETERMINED
    np.testing.assert_allclose(points.covariance[unknown, 3, 3], np.pi**2 / 3)
