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


ROWS = (3, 5)


def matched(odds, beyond=(0.0, 0.0), std=(0.1, 0.1), seen=(0.0,), sight=-1, clutter=1.0):
    """Which detection, of a few on one ray from the user, each of two points on it gets.

    Args:
        odds: Log-odds that each point exists.
        beyond: How far each stands behind a place [m].
        std: Deviation of each one's coordinates [m].
        seen: How far behind the place each detection is [m].
        sight: Number of the detection that is line of sight.
        clutter: False or new detections an instant.
    """
    settings = JointFilter(slots=8, clutter=clutter)
    state = state_of(settings, 0.1)
    toward = np.array([60.0, 10.0, 9.0]) - PLACE
    length = np.linalg.norm(toward)
    mean, covariance = state.mean, state.covariance
    for row, behind, each in zip(ROWS, beyond, std, strict=True):
        at = USER + PER_SLOT * row + np.arange(3)
        mean = mean.at[at].set(jnp.asarray(PLACE + toward * (1 + behind / length)))
        covariance = covariance.at[at, at].set(each**2)
    rows = jnp.array(ROWS)
    slots = state.slots
    state = eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots.identity, s.slots.kind, s.slots.odds),
        state,
        (
            mean, covariance, slots.identity.at[rows].set(jnp.array([7, 8])),
            slots.kind.at[rows].set(int(AnchorType.EVEN)),
            slots.odds.at[rows].set(jnp.array(odds)),
        ),
    )  # fmt: skip
    azimuth = np.arctan2(toward[1], toward[0])
    departure = np.arctan2(-toward[1], -toward[0])
    zenith = np.arccos(toward[2] / length)
    found = detect([[length + x, azimuth, zenith, departure, np.pi - zenith] for x in seen])
    match = match_detections(state, found, jnp.array(sight), jnp.asarray(STATION), settings)
    return np.asarray(match.detection)[list(ROWS)].tolist()


def owner_of(odds, *where, **spread):
    """Which of two points gets the one detection."""
    return matched(odds, *where, **spread).index(0)


LENGTH_VARIANCE = 0.3**2 + 2 * 0.1**2  # of the detection, the user and the point [m^2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odds", "ratio"),
    [
        # both doubtful: existence is 1 to 6.6, chances to miss are alike
        ((-4.0, -2.0), 0.4),
        # both likely: existence is 1 to 1.34, but the doubtful one is missed 3 times as often
        ((1.0, 4.0), 0.5),
    ],
)
def test_of_two_points_the_one_that_exists_gets_the_detection(odds, ratio):
    """The likelier of the two is further off, by less than existence, or absence, weighs."""
    behind = np.sqrt(-2 * LENGTH_VARIANCE * np.log(ratio))
    assert owner_of(odds, (0.0, behind)) == 1
    assert owner_of(odds[::-1], (behind, 0.0)) == 0
    assert owner_of((odds[1],) * 2, (0.0, behind)) == 0  # it is further off


@pytest.mark.parametrize("sharp", [0, 1])
def test_of_two_points_at_one_place_the_sharper_one_gets_the_detection(sharp):
    """Both expect exactly what is seen; only the determinant of the expectation decides."""
    std = [0.5, 0.5]
    std[sharp] = 0.1
    assert owner_of((1.0, 1.0), std=std) == sharp


def test_a_detection_outside_the_gate_is_nobodys():
    inside, outside = (np.sqrt(LENGTH_VARIANCE * square) for square in (20.0, 40.0))
    assert matched((4.0, 4.0), (inside, 300.0)) == [0, -1]
    assert matched((4.0, 4.0), (outside, 300.0)) == [-1, -1]


def test_line_of_sight_is_no_other_points():
    assert matched((4.0, 4.0), (0.0, 300.0)) == [0, -1]
    assert matched((4.0, 4.0), (0.0, 300.0), sight=0) == [-1, -1]


@pytest.mark.slow
def test_detections_are_rather_explained_than_false_where_those_are_rare():
    """The first point could take either detection, and fits the first better than the second does.

    That both detections are a point's is likelier than that one is false, unless those are many.
    """
    case = {"odds": (-3.0, -3.0), "beyond": (0.0, 5.0), "std": (5.0, 5.0), "seen": (0.0, -20.0)}
    assert matched(**case) == [1, 0]
    assert matched(**case, clutter=1000.0)[0] == 0


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


@pytest.mark.slow
def test_a_path_far_from_its_prediction_moves_the_user_less():
    # user and length have 0.3 m each: a Gaussian follows half of what the length says
    assert moved(1e15, 1.5) == pytest.approx(0.75, rel=0.02)
    assert moved(4.0, 0.3) == pytest.approx(moved(1e15, 0.3), rel=0.02)
    # at the fixed point the weight is 9 / (4 + r^2), r the residual that is left
    far = moved(4.0, 1.5)
    weight = 9 / (4 + ((1.5 - far) / 0.3) ** 2)
    assert weight < 0.9
    assert far == pytest.approx(1.5 / (1 + 1 / weight), rel=0.05)  # three passes come this near


def test_the_departure_of_an_undecided_point_tells_nothing_of_the_user():
    settings = JointFilter(slots=8)
    state = state_of(settings, 0.3)
    at = USER + PER_SLOT * 3 + np.arange(3)
    toward = np.array([74.0, 31.0, 7.7])
    azimuth, zenith = np.arctan2(toward[1], toward[0]), np.arccos(7.7 / np.linalg.norm(toward))
    seen = detect([np.linalg.norm(toward), azimuth, zenith, azimuth + 2.0, np.pi - zenith])
    none = jnp.zeros(8)
    match = Match(
        jnp.full(8, -1).at[3].set(0), none, none, jnp.zeros((8, 5)), jnp.zeros((8, 5)),
        jnp.ones(1, bool),
    )  # fmt: skip

    def shift(kind):
        known = eqx.tree_at(
            lambda s: (s.mean, s.covariance, s.slots.kind),
            state,
            (
                state.mean.at[at].set(jnp.asarray(PLACE + toward)),
                state.covariance.at[at, at].set(0.01), state.slots.kind.at[3].set(int(kind)),
            ),
        )  # fmt: skip
        after = update_joint(known, seen, match, jnp.asarray(STATION), settings)
        return float(np.linalg.norm(after.mean[:2] - known.mean[:2]))

    assert shift(AnchorType.UNDECIDED) < 1e-3
    assert shift(AnchorType.ODD) > 0.01


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
