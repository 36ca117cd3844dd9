"""Births and deaths in a street of two oblique walls, against mirroring done by hand."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.propagation.wall_images import trace
from echoscape.scene.mesh import make_mesh
from echoscape.tracking import AnchorType, Record, Tracks, TrackStatus, UserStatus
from echoscape.tracking.map_forecast import (
    COMMON_STD,
    EXCESS_STD,
    WALL_STD,
    forecast_with_map,
    measure_paths,
    prepare_map,
    wall_excess,
)
from echoscape.units import wrap_angle

STATION, USER = np.array([2.0, 3.0, 8.0]), np.array([41.0, -6.0, 1.5])
VELOCITY = np.array([1.3, 0.4, 0.0])
CORNERS = (((-20, 14), (33, 18)), ((-20, -17), (80, -12)), ((20, -4), (20.5, 2)))
HEIGHTS = (30.0, 30.0, 12.0)


@pytest.fixture(scope="module")
def street():
    """A wall that ends on one side, a long one on the other, a screen; no ground."""
    vertex = [
        [[*a, 0.0], [*b, 0.0], [*b, high], [*a, high]]
        for (a, b), high in zip(CORNERS, HEIGHTS, strict=True)
    ]
    face = [[4 * k, 4 * k + i, 4 * k + i + 1] for k in range(len(vertex)) for i in (1, 2)]
    mesh = make_mesh(np.array(vertex, float).reshape(-1, 3), np.array(face))
    return prepare_map(mesh, STATION, rays=20_000, depth=2)


def followed(walls, keep):
    """Exact tracks of some of the paths at `USER`: anchors are the map's images."""
    found = trace(walls.mesh, STATION, USER[None], 28e9, sequences=walls.sequence, tree=walls.tree)
    rows = np.flatnonzero(keep(found))
    exact, image, count = (
        measure_paths(found, STATION, USER[None])[rows],
        found.image[rows],
        len(rows),
    )
    sign = (-1.0) ** found.bounces[rows]
    bearing = np.arctan2(*(USER - image).T[1::-1])
    kinds = np.array([AnchorType.STATION, AnchorType.ONE_WALL, AnchorType.EVEN])[
        found.bounces[rows]
    ]
    ones = np.ones((1, count))
    fields = dict(
        user=np.concatenate([USER, VELOCITY])[None], user_covariance=0.01 * np.eye(6)[None],
        anchor=image[None], anchor_covariance=np.tile(np.eye(3), (1, count, 1, 1)),
        rotation=wrap_angle(exact[:, 3] - sign * bearing)[None], predicted=exact[None],
        detection=np.arange(count)[None], identity=7 + np.arange(count)[None], kind=kinds[None],
        reflection=sign[None], vertical_reflection=ones, odds=ones,
        hits=np.full((1, count), 9), misfit=np.ones(1),
        share=np.ones(1), pending=np.zeros(1, int), relocated=np.zeros(1, bool),
        recalled=np.zeros(1, bool), merged=np.zeros((1, count), bool),
        nuisance=np.zeros((1, 4)), nuisance_std=np.zeros((1, 4)),
    )  # fmt: skip
    record = Record(**{name: jnp.asarray(value) for name, value in fields.items()})
    status = np.full((1, count), int(TrackStatus.TRACKED))
    user_status = np.array([int(UserStatus.TRACKED)])
    tracks = Tracks(np.array([4.0]), record, status, user_status, STATION)
    return tracks, np.abs(found.gain[rows]) ** 2, found.sequence[rows]


def by_hand(place):
    """Lengths of the line of sight, if the screen spares it, and of paths by one wall."""

    def crosses(a, b, start, stop):
        """Share of the way at which the line meets the wall's ground line, None if it does not."""
        along, ahead = np.subtract(b, a), stop[:2] - start[:2]
        share, u = np.linalg.solve(np.stack([ahead, -along], 1), np.asarray(a) - start[:2])
        return share if 0 < share < 1 and 0 <= u <= 1 else None

    def clear(start, stop, but=None):
        for number, ((a, b), high) in enumerate(zip(CORNERS, HEIGHTS, strict=True)):
            share = crosses(a, b, start, stop)
            met = number != but and share is not None
            if met and 0 < start[2] + share * (stop[2] - start[2]) < high:
                return False
        return True

    lengths = [np.linalg.norm(place - STATION)] if clear(STATION, place) else []
    for number, ((a, b), high) in enumerate(zip(CORNERS, HEIGHTS, strict=True)):
        along = np.subtract(b, a) / np.linalg.norm(np.subtract(b, a))
        normal = np.array([-along[1], along[0], 0.0])
        image = STATION - 2 * ((STATION - [*a, 0]) @ normal) * normal
        same_side = ((STATION - [*a, 0]) @ normal) * ((place - [*a, 0]) @ normal) > 0
        share = crosses(a, b, image, place)
        if same_side and share is not None:
            bounce = image + share * (place - image)
            free = clear(STATION, bounce, number) and clear(bounce, place, number)
            if 0 < bounce[2] < high and free:
                lengths.append(np.linalg.norm(place - image))
    return np.sort(lengths)


@pytest.mark.slow
def test_paths_die_and_are_born_where_walls_end(street):
    tracks, power, sequence = followed(street, lambda found: found.bounces <= 2)
    time = np.array([4.0, 9.0, 16.5, 29.0])
    place = USER + (time - 4.0)[:, None] * VELOCITY
    ahead = forecast_with_map(tracks, power, street, 28e9, time)
    assert np.allclose(ahead.user, place)
    for k in range(len(time)):
        there = ahead.power[k] > 0
        expected = by_hand(place[k])
        # each by hand is foretold; the rest have two bounces, which are longer
        gap = np.abs(ahead.path[k, there, 0][:, None] - expected[None])
        assert gap.min(axis=0).max() < 1e-6
        exact = trace(street.mesh, STATION, place[[k]], 28e9, sequences=street.sequence)
        measured = measure_paths(exact, STATION, place[[k]])
        # of anchors where a path goes on: they say the same as the map in an exact world
        assert np.abs(wrap_angle(ahead.path[k, there] - measured)).max() < 1e-6
        assert np.allclose(ahead.power[k, there], np.abs(exact.gain) ** 2, rtol=1e-9)
    assert set(ahead.identity[0][ahead.power[0] > 0]) == set(7 + np.arange(len(sequence)))
    last = ahead.identity[-1][ahead.power[-1] > 0]
    assert len(np.setdiff1d(ahead.identity[0], last)) > 0  # the short wall has ended
    assert (last == -1).any()  # the screen hides the line of sight no more


def test_what_walls_lose_carries_over_to_paths_not_yet_seen(street):
    """Two walls that lose 3 and 4 dB more than theory: a path by both is born 7 dB weaker."""
    tracks, power, sequence = followed(street, lambda found: found.bounces == 1)
    loss = np.where(np.arange(street.mesh.wall.max() + 1) == sequence[0, 0], 3.0, 4.0)
    seen = power * 10 ** (-0.1 * loss[sequence[:, 0]])
    ahead = forecast_with_map(tracks, seen, street, 28e9, np.array([4.5]))
    place = USER[None] + 0.5 * VELOCITY
    exact = trace(street.mesh, STATION, place, 28e9, sequences=street.sequence)
    theory = 10 * np.log10(np.abs(exact.gain) ** 2)
    found = theory - 10 * np.log10(ahead.power[0][: len(theory)])
    wanted = np.where(exact.sequence >= 0, loss[exact.sequence], 0.0).sum(axis=1)
    assert (exact.bounces == 2).any()
    # the noise of one path, EXCESS_STD, holds the estimate back by some percent
    assert np.allclose(found, wanted, atol=0.1 * wanted.max())


def test_one_excess_is_shared_as_gaussian_variances_say(street):
    common, own, clutter = COMMON_STD**2, WALL_STD**2, EXCESS_STD**2
    seen = np.array([[1, -1]])
    wanted = np.array([[1, -1], [0, -1], [0, 1], [-1, -1]])
    total = common + own + clutter
    expected = 2.5 * np.array([common + own, common, 2 * common + own, 0.0]) / total
    assert np.allclose(wall_excess(street.mesh, seen, np.array([2.5]), wanted), expected)


def test_nothing_followed_leaves_theory(street):
    tracks, power, _ = followed(street, lambda found: found.bounces <= 2)
    none = eqx.tree_at(lambda t: t.status, tracks, np.zeros_like(tracks.status))
    ahead = forecast_with_map(none, power, street, 28e9, np.array([5.0]))
    exact = trace(street.mesh, STATION, ahead.user, 28e9, sequences=street.sequence)
    assert np.allclose(ahead.power[0][: len(exact.gain)], np.abs(exact.gain) ** 2)
    assert (ahead.identity == -1).all()


@pytest.mark.parametrize("wrong", [np.ones(2), -1.0, np.nan])
def test_powers_that_are_none_are_refused(street, wrong):
    tracks, power, _ = followed(street, lambda found: found.bounces <= 2)
    power = wrong if np.ndim(wrong) else np.where(np.arange(len(power)) == 1, wrong, power)
    with pytest.raises(InputError, match="one power gain, zero or above, for each of the"):
        forecast_with_map(tracks, power, street, 28e9, np.array([5.0]))
