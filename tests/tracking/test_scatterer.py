"""Scatterers among walls: what a path comes of is what stands still, its image or its bounce."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter, TrackStatus, joint_state, track
from echoscape.tracking.joint_update import Detections, Match
from echoscape.tracking.scatterer import compare_scatterers, place_point
from tests.worlds.walls import STATION, observe, scattered_path

POINTS = [np.array([2.0, -6.0, 4.0]), np.array([-22.0, 4.0, 2.5]), np.array([14.0, 12.0, 6.0])]
SETTINGS = JointFilter(slots=24, suspect_clock=False)


@pytest.fixture(scope="module")
def walk():
    observations, user, velocity, truth = observe(np.random.default_rng(3), points=POINTS)
    found = track(observations, STATION, start=user[0], start_velocity=velocity, filter=SETTINGS)
    return observations, user, truth, found


def kinds(found, truth, late):
    """Give what each path was taken for, from one instant on."""
    taken = {}
    for k in range(late, len(truth)):
        for slot in np.flatnonzero(found.status[k] == TrackStatus.TRACKED):
            number = truth[k, found.record.detection[k, slot]]
            taken.setdefault(number, []).append((k, slot, found.record.kind[k, slot]))
    return taken


@pytest.mark.slow
def test_scatterers_are_told_from_images(walk):
    _, _, truth, found = walk
    taken = kinds(found, truth, 60)
    for number in range(100, 103):
        share = np.mean([kind == AnchorType.SCATTERER for _, _, kind in taken[number]])
        assert share > 0.8, number
    walls = [kind for number in range(1, 12) for _, _, kind in taken.get(number, ())]
    assert len(walls) > 300
    assert np.mean([kind == AnchorType.SCATTERER for kind in walls]) < 0.1  # one wall hardly slides


@pytest.mark.slow
def test_their_places_are_found_and_the_user_is_followed(walk):
    _, user, truth, found = walk
    taken = kinds(found, truth, 100)
    for number, point in enumerate(POINTS, 100):
        k, slot, _ = taken[number][-1]
        # half a degree at 40 m, averaged over a hundred epochs, and the user's own error
        assert np.linalg.norm(found.record.anchor[k, slot] - point) < 0.6
    wrong = np.linalg.norm(np.asarray(found.record.user)[:, :2] - user[:, :2], axis=1)
    assert np.sqrt(np.mean(wrong**2)) < 0.4


@pytest.mark.slow
def test_a_point_is_placed_where_both_directions_meet():
    place = eqx.filter_jit(place_point)
    user = np.array([-14.0, -21.0, 1.3])
    std = jnp.array([0.3, 0.017, 0.017, 0.009, 0.009])
    measured = jnp.asarray(scattered_path(user, POINTS[0]))
    point, covariance, odds = place(
        measured, std, jnp.asarray(user), 0.01 * jnp.eye(3), jnp.asarray(STATION), SETTINGS
    )
    assert np.allclose(point, POINTS[0], atol=1e-9)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert odds == pytest.approx(np.log(SETTINGS.scatterers / (1 - SETTINGS.scatterers)))
    # an arrival that is off costs what it misses by, over all that blurs it: by simulation
    rng = np.random.default_rng(2)
    many = np.asarray(measured) + np.asarray(std) * rng.normal(size=(20_000, 5))
    users = user + 0.1 * rng.normal(size=(20_000, 3))
    points, _, _ = jax.jit(jax.vmap(place, (0, None, 0, None, None, None)), static_argnums=5)(
        many, std, users, 0.01 * jnp.eye(3), jnp.asarray(STATION), SETTINGS
    )
    back = np.asarray(points) - users
    seen = np.stack([np.arctan2(back[:, 1], back[:, 0]),
                     np.arccos(back[:, 2] / np.linalg.norm(back, axis=1))], axis=1)  # fmt: skip
    missed = many[:, 1:3] - seen
    missed[:, 0] = np.angle(np.exp(1j * missed[:, 0]))
    shift = np.array([0.17, 0.0])
    cost = 0.5 * shift @ np.linalg.inv(np.cov(missed.T)) @ shift
    _, _, doubtful = place(
        measured.at[1].add(0.17), std, jnp.asarray(user), 0.01 * jnp.eye(3),
        jnp.asarray(STATION), SETTINGS,
    )  # fmt: skip
    assert odds - doubtful == pytest.approx(cost, rel=0.1)
    assert cost > 4


@pytest.mark.slow
def test_tentative_tracks_are_present_by_their_odds(walk):
    _, _, _, found = walk
    presence, odds = found.presence, np.asarray(found.record.odds)
    tentative = found.status == TrackStatus.TENTATIVE
    assert tentative.sum() > 20
    assert (presence[found.status >= TrackStatus.TRACKED] == 1).all()
    assert (presence[found.status == TrackStatus.ABSENT] == 0).all()
    ratio = presence[tentative] / (1 - presence[tentative])
    np.testing.assert_allclose(np.log(ratio), odds[tentative], atol=1e-9)


@pytest.mark.slow
def test_a_point_shares_the_error_of_the_user_from_whom_it_was_placed():
    settings = JointFilter(slots=8)
    user = np.array([-14.0, -21.0, 1.3])
    state = eqx.filter_jit(joint_state.start_joint)(
        jnp.asarray(STATION), jnp.asarray(user), jnp.zeros(3), jnp.array(0.0), settings
    )
    state = eqx.tree_at(
        lambda s: (s.slots.identity, s.slots.scatter_odds, s.slots.point, s.slots.point_covariance),
        state,
        (
            state.slots.identity.at[3].set(7),
            state.slots.scatter_odds.at[3].set(20.0),
            state.slots.point.at[3].set(jnp.asarray(POINTS[0])),
            state.slots.point_covariance.at[3].set(0.01 * jnp.eye(3)),
        ),
    )
    std = np.array([0.3, 0.017, 0.017, 0.009, 0.009])
    measured = scattered_path(user, POINTS[0])
    seen = Detections(
        jnp.asarray(measured)[None], jnp.asarray(std)[None], jnp.ones(1, bool), jnp.zeros(1)
    )
    none = jnp.zeros(8)
    match = Match(
        jnp.full(8, -1).at[3].set(0), none, none, jnp.zeros((8, 5)), jnp.zeros((8, 5)),
        jnp.ones(1, bool),
    )  # fmt: skip
    after, _ = eqx.filter_jit(compare_scatterers)(
        state, seen, match, jnp.asarray(STATION), settings
    )
    assert after.slots.kind[3] == AnchorType.SCATTERER
    at = joint_state.USER + joint_state.PER_SLOT * 3
    cross = after.covariance[at : at + 3, :3]

    @jax.jit
    def place(user):
        return place_point(
            jnp.asarray(measured), jnp.asarray(std), user, jnp.eye(3), jnp.asarray(STATION),
            settings,
        )[0]  # fmt: skip

    step = 1e-4 * np.eye(3)
    slope = np.stack([(place(user + e) - place(user - e)) / 2e-4 for e in step], axis=1)
    assert np.allclose(cross, slope @ np.asarray(state.covariance[:3, :3]), atol=1e-6)
    assert np.abs(slope).max() > 0.3
