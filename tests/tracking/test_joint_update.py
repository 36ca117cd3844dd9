"""Association and update of the joint filter: cases in which one term alone decides."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter
from echoscape.tracking.joint_state import PER_SLOT, USER, start_joint
from echoscape.tracking.joint_update import Detections, Match, match_detections, update_joint
from tests.worlds.walls import STATION, image_path

PLACE = np.array([-14.0, -21.0, 1.3])
STD = np.array([0.3, 0.02, 0.02, 0.01, 0.01])
match_detections = eqx.filter_jit(match_detections)
update_joint = eqx.filter_jit(update_joint)


def state_of(settings, std=1.0):
    """Start in sight of the station, the user's position loosely known."""
    state = start_joint(
        jnp.asarray(STATION), jnp.asarray(PLACE), jnp.zeros(3), jnp.array(0.0), settings
    )
    loose = state.covariance.at[jnp.arange(3), jnp.arange(3)].set(std**2)
    return eqx.tree_at(lambda s: s.covariance, state, loose)


def detect(measured):
    measured = jnp.atleast_2d(jnp.asarray(measured))
    shape = measured.shape
    return Detections(
        measured, jnp.broadcast_to(jnp.asarray(STD), shape), jnp.ones(shape[0], bool),
        jnp.full(shape[0], jnp.nan),
    )  # fmt: skip


def test_of_two_points_at_one_place_the_one_that_exists_gets_the_detection():
    settings = JointFilter(slots=8)
    state = state_of(settings, 0.1)
    anchor = np.array([60.0, 10.0, 9.0])
    rows = jnp.array([3, 5])
    mean = state.mean
    for row in (3, 5):
        at = USER + PER_SLOT * row
        mean = mean.at[at : at + 3].set(jnp.asarray(anchor))
    own = jnp.arange(USER, mean.shape[0])
    state = eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots.identity, s.slots.kind),
        state,
        (
            mean,
            state.covariance.at[own, own].add(0.01),
            state.slots.identity.at[rows].set(jnp.array([7, 8])),
            state.slots.kind.at[rows].set(int(AnchorType.EVEN)),
        ),
    )
    toward = anchor - PLACE
    length = np.linalg.norm(toward)
    azimuth = np.arctan2(toward[1], toward[0])
    departure = np.arctan2(-toward[1], -toward[0])
    zenith = np.arccos(toward[2] / length)
    seen = detect([length, azimuth, zenith, departure, np.pi - zenith])
    for odds, owner in (((2.0, -1.0), 3), ((-1.0, 2.0), 5)):
        chosen = eqx.tree_at(
            lambda s: s.slots.odds, state, state.slots.odds.at[rows].set(jnp.array(odds))
        )
        match = match_detections(chosen, seen, jnp.array(-1), jnp.asarray(STATION), settings)
        assert np.flatnonzero(np.asarray(match.detection) == 0).tolist() == [owner]


def moved(freedom, residual):
    """How far a line of sight that is too long moves the user along it [m]."""
    settings = JointFilter(slots=8, degrees_of_freedom=freedom)
    exact, _, _ = image_path(PLACE, [])
    seen = detect(exact + np.array([residual, 0, 0, 0, 0]))
    none = jnp.zeros(8)
    match = Match(
        jnp.full(8, -1).at[0].set(0), none, none, jnp.zeros((8, 5)), jnp.zeros((8, 5)),
        jnp.ones(1, bool),
    )  # fmt: skip
    after = update_joint(state_of(settings, 0.3), seen, match, jnp.asarray(STATION), settings)
    away = np.asarray(after.mean[:3]) - PLACE
    return float(np.linalg.norm(away))


def test_a_path_far_from_its_prediction_moves_the_user_less():
    # user and length have 0.3 m each: a Gaussian follows half of what the length says
    assert moved(1e15, 1.5) == pytest.approx(0.75, rel=0.02)
    assert moved(4.0, 0.3) == pytest.approx(moved(1e15, 0.3), rel=0.02)
    # at the fixed point the weight is 9 / (4 + r^2), r the residual that is left
    far = moved(4.0, 1.5)
    weight = 9 / (4 + ((1.5 - far) / 0.3) ** 2)
    assert weight < 0.9
    assert far == pytest.approx(1.5 / (1 + 1 / weight), rel=0.05)  # three passes come this near


@pytest.mark.parametrize(
    ("std", "odds", "power", "taken"),
    [(6.0, -3.0, 0.0, False), (0.3, -3.0, 0.0, True), (6.0, 1.0, 0.0, True),
     (6.0, -3.0, np.nan, True)],
)  # fmt: skip
def test_a_user_who_may_be_anywhere_takes_no_image_for_the_station(std, odds, power, taken):
    """What failed the test of line of sight is the station's where the user or its track say so."""
    settings = JointFilter(slots=8)
    state = state_of(settings, std)
    state = eqx.tree_at(lambda s: s.slots.odds, state, state.slots.odds.at[0].set(odds))
    exact, _, _ = image_path(PLACE, [])
    seen = eqx.tree_at(lambda d: d.log_power, detect(exact), jnp.full(1, power))
    match = match_detections(state, seen, jnp.array(-1), jnp.asarray(STATION), settings)
    assert (int(match.detection[0]) == 0) == taken
