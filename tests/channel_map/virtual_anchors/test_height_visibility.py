"""Visibility above the street: one wall and its twin by way of the ground, by hand; and a map's."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import (
    NearestReports,
    VirtualAnchorMap,
    VirtualAnchors,
    fit_map,
    load_maps,
    save_maps,
)
from echoscape.channel_map.virtual_anchors.height_visibility import learn_heights
from echoscape.channel_map.visibility import NOT_REPORTED
from echoscape.scene import PointKind, StaticPoints
from tests.worlds.mirrors import STATION, street_reports

HEIGHT, ROOF, WALL = 9.0, 18.0, 40.0  # of the station and the roofs, and the wall's x [m]
DIRECT, MIRROR, GROUND, FEW = range(4)
OUT = np.arange(4.0, 20.0, 2.0)
# In the frame of the station; seen in the wall, reports lie 64 to 76 m from the image at x = 80.
REPORTS = np.stack([80.0 - 4.0 * OUT, 0.5 * OUT, np.full(len(OUT), 1.5 - HEIGHT)], axis=1)


def points():
    """The straight path, the wall, the wall by way of the ground, and a wall of two reports."""
    mirrored = np.array([1.0, -1.0, -1.0, -1.0])
    count = len(mirrored)
    return StaticPoints(
        kind=np.full(count, PointKind.VIRTUAL_ANCHOR),
        rotation=np.array([0.0, np.pi, np.pi, np.pi]),
        reflection=mirrored,
        offset=np.array([[0.0, 0.0], [2 * WALL, 0.0], [2 * WALL, 0.0], [60.0, 0.0]]),
        vertical_reflection=np.array([1.0, 1.0, -1.0, 1.0]),
        height_offset=np.array([0.0, 0.0, -2 * HEIGHT, 0.0]),
        log_gain=np.zeros(count),
        log_gain_std=np.ones(count),
    )


@pytest.fixture(scope="module")
def heights():
    rank = np.full((len(REPORTS), 4), NOT_REPORTED)
    rank[:, :3] = [0, 1, 2]
    rank[:2, FEW] = 3
    return learn_heights(points(), REPORTS, rank, roof_height=ROOF, reported_paths=3)


def presence(heights, place, street=0.0):
    """Ask at a height above the ground."""
    place = jnp.asarray(place) - jnp.array([0.0, 0.0, HEIGHT])
    return np.asarray(heights.presence(points(), place, jnp.full(4, street)))


def logistic(value):
    return 1 / (1 + np.exp(-value))


def along(azimuth, reach):
    """Go from the image in the wall, at an azimuth towards the street."""
    return np.array([80.0 - reach * np.cos(azimuth), reach * np.sin(azimuth)])


AZIMUTH = np.arctan2(0.5, 4.0)  # all reports lie on this ray from the wall's image
NEAR, FAR = np.hypot(4.0, 0.5) * OUT[[0, -1]]


@pytest.mark.parametrize("height", [12.0, 30.0, 45.0])
def test_behind_the_reports_a_path_passes_the_roof_and_meets_the_wall(heights, height):
    reach = 1.5 * FAR
    found = presence(heights, [*along(AZIMUTH, reach), height])[MIRROR]
    above = lambda share: HEIGHT + (height - HEIGHT) * share  # noqa: E731
    wall = logistic((1.12 * ROOF - above(NEAR / reach)) / (0.17 * ROOF))
    clear = logistic((above(FAR / reach) - 0.88 * ROOF) / (0.13 * ROOF))
    assert found == pytest.approx(wall * clear, rel=1e-6)


def test_by_way_of_the_ground_heights_are_those_of_the_folded_ray(heights):
    reach, height = 1.5 * FAR, 35.0
    found = presence(heights, [*along(AZIMUTH, reach), height])[GROUND]
    above = lambda share: abs(HEIGHT - (height + HEIGHT) * share)  # noqa: E731
    assert (height + HEIGHT) * FAR / reach > HEIGHT  # the ground lies before the shadow's edge
    wall = logistic((1.12 * ROOF - above(NEAR / reach)) / (0.17 * ROOF))
    clear = logistic((above(FAR / reach) - 0.88 * ROOF) / (0.13 * ROOF))
    assert found == pytest.approx(wall * clear, rel=1e-6)


def test_what_the_street_sees_stays_visible_until_the_wall_ends(heights):
    place, seen = along(AZIMUTH, FAR), []
    for height in (15.0, 40.0, 120.0):  # its bounce lies at 10, 15 and 32 m
        seen.append(presence(heights, [*place, height], street=0.9)[MIRROR])
    assert seen[0] > 0.85
    assert np.all(np.diff(seen) < 0)
    assert seen[-1] < 0.05


def test_beside_the_window_a_path_fades_over_a_metre(heights):
    reach, height = 1.5 * FAR, 40.0
    inside, beside = (
        presence(heights, [*along(AZIMUTH + turn, reach), height])[MIRROR] for turn in (0.0, 0.05)
    )
    outside = (0.05 - 1e-3) * reach  # half a milliradian is the narrowest window's
    assert beside / inside == pytest.approx(np.exp(-outside / 1.3), rel=2e-2)


def test_between_two_reports_far_apart_less_is_known():
    place = np.array([[60.0, 20.0, -7.5], [60.0, -20.0, -7.5], [61.0, 20.0, -7.5]])
    rank = np.full((3, 4), NOT_REPORTED)
    rank[:, MIRROR] = 0
    heights = learn_heights(points(), place, rank, roof_height=ROOF, reported_paths=3)
    reach = 2 * np.hypot(20.0, 20.0)
    edge, middle = (
        presence(heights, [*along(turn, reach), 30.0])[MIRROR] for turn in (np.pi / 4, 0.0)
    )
    # a member lies half the window away, save half a bin of 48
    lower = np.exp(-np.pi / 4 * reach / 14.0)
    assert lower < middle / edge < 1.5 * lower


def test_too_few_reports_make_no_window(heights):
    assert presence(heights, [*along(AZIMUTH, 1.5 * FAR), 30.0])[FEW] < 1e-6


def test_higher_roofs_hide_more_behind_them_and_reflect_higher():
    rank = np.zeros((len(REPORTS), 4), dtype=int)
    low, high = (
        learn_heights(points(), REPORTS, rank, roof_height=roof, reported_paths=3)
        for roof in (10.0, 30.0)
    )
    behind = [*along(AZIMUTH, 1.3 * FAR), 20.0]
    assert presence(high, behind)[MIRROR] < 0.5 * presence(low, behind)[MIRROR]
    front = [*along(AZIMUTH, FAR), 60.0]
    assert presence(high, front, 0.9)[MIRROR] > 2 * presence(low, front, 0.9)[MIRROR]


def test_only_so_many_of_the_strongest_paths_are_reported(heights):
    present = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.5])
    log_power = jnp.array([-1.0, -2.0, -3.0, -4.0, -30.0, -0.5])
    found = np.asarray(heights.among_strongest(present, log_power))
    assert np.all(np.diff(found[:5]) < 0)
    assert found[5] > 0.4  # nothing is stronger, three are reported
    # four and a half are stronger than the last: (2.5 - 4.5) / sqrt(3 + 1/4)
    assert found[4] == pytest.approx(0.1336, abs=1e-3)


@pytest.fixture(scope="module")
def street():
    return fit_map(street_reports(count=60, seed=3), VirtualAnchors())


@pytest.mark.slow
def test_at_street_level_a_map_predicts_what_its_raster_says(street):
    place = jnp.asarray(np.array([[-20.0, 5.0, 1.5], [3.0, 20.0, 3.0]]))
    both = jax.jit(lambda m, x: jax.vmap(m)(x))
    plain = both(dataclasses.replace(street, heights=None), place)
    for one, other in zip(jax.tree.leaves(both(street, place)), jax.tree.leaves(plain)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_above_the_street_a_map_still_offers_what_the_street_sees(street):
    prior = street(jnp.array([-12.0, 8.0, 14.0]))
    direct = np.linalg.norm(np.array([-12.0, 8.0, 14.0]) - STATION)
    nearest = np.argmin(np.abs(np.asarray(prior.length) - direct))
    assert abs(float(prior.length[nearest]) - direct) < 1e-6
    assert float(prior.probability[nearest]) > 0.9


def test_what_other_heights_need_is_left_out_only_where_it_is_not_needed(street):
    assert street.at_heights(1.5, 1.5).heights is None
    assert street.at_heights(0.0, 60.0) is street
    assert street.at_heights(20.0, 20.0) is street


def test_a_map_says_where_it_extrapolates(street):
    place = np.array([[0.0, 0.0, z] for z in (0.4, 0.6, 3.4, 3.6, 40.0)])
    assert street.extrapolates(place).tolist() == [True, False, False, True, True]
    assert not dataclasses.replace(street, heights=None).extrapolates(place).any()
    assert not fit_map(street_reports(count=20, seed=3), NearestReports()).extrapolates(place).any()


def test_windows_are_stored_with_the_map(street, tmp_path):
    save_maps(street, tmp_path / "map")
    (loaded,) = load_maps(tmp_path / "map").values()
    place = jnp.array([-12.0, 8.0, 14.0])
    np.testing.assert_array_equal(loaded(place).probability, street(place).probability)


def test_a_map_without_windows_predicts_as_at_street_level():
    folder = pathlib.Path(__file__).resolve().parents[2] / "data" / "maps_0.1" / "virtual_anchors"
    (old,) = load_maps(folder).values()
    assert isinstance(old, VirtualAnchorMap)
    assert old.heights is None
    assert old.at_heights(0.0, 60.0) is old


def test_windows_of_other_points_are_refused(street):
    with pytest.raises(ValueError, match=r"6 points needs as many windows .* got 5: learn them"):
        dataclasses.replace(street, heights=jax.tree.map(_shorter, street.heights))


def _shorter(leaf):
    return leaf[:-1] if np.ndim(leaf) and len(leaf) == 6 else leaf
