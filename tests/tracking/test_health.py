"""What is said of a user: each verdict of line of sight, provoked by the term that it rests on."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter, UserStatus
from echoscape.tracking.health import heading_error, last_verdict, shift_in_doubt, user_status
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.record import Record

COUNT = 40


def in_sight(off=0.0, heading=0.0, clock=0.0, clock_std=0.1):
    """A record in sight from instant 5 to 25, whose line of sight turns by `off` [rad]."""
    rng = np.random.default_rng(1)
    shape = (COUNT, 2)
    sight = (np.arange(COUNT) >= 5) & (np.arange(COUNT) < 25)
    zero = np.zeros(shape)
    nuisance = np.tile([clock, 0.0, heading, 0.0], (COUNT, 1))
    fields = dict(
        user=np.zeros((COUNT, 6)), user_covariance=np.tile(0.01 * np.eye(6), (COUNT, 1, 1)),
        nuisance=nuisance, nuisance_std=np.tile([clock_std, 0.0, 0.0, 0.0], (COUNT, 1)),
        anchor=np.zeros((*shape, 3)), anchor_covariance=np.zeros((*shape, 3, 3)), rotation=zero,
        predicted=np.zeros((*shape, 5)),
        detection=np.stack([np.where(sight, 1, -1), np.zeros(COUNT, int)], axis=1),
        identity=np.tile([0, 1], (COUNT, 1)),
        kind=np.tile([int(AnchorType.STATION), int(AnchorType.EVEN)], (COUNT, 1)),
        reflection=zero + 1, vertical_reflection=zero + 1, odds=zero + 3,
        hits=np.full(shape, 50), misfit=np.ones(COUNT), share=np.ones(COUNT),
        pending=np.zeros(COUNT, int), relocated=np.zeros(COUNT, bool),
        recalled=np.zeros(COUNT, bool), merged=np.zeros(shape, bool),
    )  # fmt: skip
    record = Record(**{name: jnp.asarray(value) for name, value in fields.items()})
    std = np.radians([0.0, 1.0, 1.0, 0.5, 0.5])
    measured = rng.normal(size=(COUNT, 2, 5)) * std
    # departs near the cut of the circle, arrives from the opposite direction
    measured[:, 1, 3] += 3.1
    measured[:, 1, 1] += 3.1 - np.pi - off
    seen = Detections(
        jnp.asarray(measured), jnp.asarray(np.broadcast_to(std, measured.shape)),
        jnp.ones(shape, bool), jnp.zeros(shape),
    )  # fmt: skip
    return record, seen


def test_two_directions_of_line_of_sight_tell_a_heading():
    record, seen = in_sight(off=np.radians(3.0))
    turned, off = heading_error(record, seen)
    # ten instants of one and half a degree together; held after sight is lost
    assert not off[:14].any()
    assert off[14:].all()
    assert turned[-1] == pytest.approx(np.radians(3.0), abs=4 * np.radians(1.12 / np.sqrt(20)))
    status, reason = user_status(record, np.zeros(COUNT, bool), JointFilter(), seen=seen)
    assert (status[14:] == UserStatus.UNCERTAIN).all()
    assert "try unknown heading" in reason[-1]
    assert (status[:14] == UserStatus.TRACKED).all()
    # what the filter estimates is no error
    record, seen = in_sight(off=np.radians(3.0), heading=np.radians(3.0))
    assert not heading_error(record, seen)[1].any()
    record, seen = in_sight()
    assert not heading_error(record, seen)[1].any()


@pytest.mark.parametrize(("clock", "std", "said"), [(3.0, 0.1, True), (3.0, 1.0, False)])
def test_a_clock_that_is_off_by_its_deviations_is_named(clock, std, said):
    suspect, _ = in_sight(clock=clock, clock_std=std)
    record, _ = in_sight()
    status, reason = user_status(record, np.zeros(COUNT, bool), JointFilter(), suspect)
    assert (status[20:] == (UserStatus.UNCERTAIN if said else UserStatus.TRACKED)).all()
    assert ("clock seems to be 3 m off" in reason[30]) == said


def test_a_verdict_needs_most_of_the_last_instants_in_sight():
    sight = np.arange(60) < 40
    off = np.arange(60) % 2 == 0
    assert not last_verdict(off, sight).any()
    assert not last_verdict(np.ones(60, bool), np.arange(60) < 9).any()
    late = np.arange(60) >= 20
    found = last_verdict(late, sight)
    assert not found[:27].any()
    assert found[27:].all()
    # and is taken back
    assert not last_verdict(np.arange(60) < 20, sight)[30:].any()


@pytest.mark.parametrize(
    ("when", "clock", "std", "said"),
    [(6, 0.0, 1.0, True), (6, 3.0, 0.1, True), (6, 0.0, 0.1, False), (15, 3.0, 1.0, False)],
)
def test_a_first_line_of_sight_that_moved_the_user_may_be_a_clock(when, clock, std, said):
    record, _ = in_sight()
    # away from the station by 3 m; 15 is after ten instants in sight, which agreed
    later = (jnp.arange(COUNT) >= when)[:, None]
    user = jnp.where(later, jnp.array([8.0, 0.0, 0.0]), jnp.array([5.0, 0.0, 0.0]))
    record = eqx.tree_at(
        lambda r: (r.user, r.relocated, r.pending),
        record,
        (
            jnp.concatenate([user, jnp.zeros((COUNT, 3))], axis=1),
            jnp.arange(COUNT) == when,
            jnp.where(jnp.arange(COUNT) < when, 1, 0),
        ),
    )
    suspect, _ = in_sight(clock=clock, clock_std=std)
    shift, doubtful = shift_in_doubt(record, suspect)
    assert doubtful[when:].all() == said
    assert not doubtful[:when].any()
    if said:
        assert shift == pytest.approx(3.0)
        status, reason = user_status(record, np.zeros(COUNT, bool), JointFilter(), suspect)
        assert (status[when + 1 :] == UserStatus.UNCERTAIN).all()
        assert "try unknown clock" in reason[30]


HALF = np.arange(COUNT) >= COUNT // 2
STATUSES = {
    "nothing detected": (UserStatus.COASTING, "nothing was detected", {"detection": -1}),
    "wide": (UserStatus.UNCERTAIN, "claimed error is 2.", {"user_covariance": 3.0}),
    "wider": (UserStatus.LOST, "claimed error is 11", {"user_covariance": 61.0}),
    "older points off": (UserStatus.UNCERTAIN, "older points are off by 2.6", {"misfit": 2.6}),
    "few explained": (UserStatus.UNCERTAIN, "explain 19% of the strong", {"share": 0.19}),
    "fewer explained": (UserStatus.LOST, "explain 4% of the strong", {"share": 0.04}),
    "sight elsewhere": (UserStatus.UNCERTAIN, "line of sight contradicts", {"pending": 3}),
    "moved by sight": (UserStatus.RELOCATED, "line of sight contradicted", {"relocated": True}),
    "moved by points": (
        UserStatus.RELOCATED,
        "points of before were found again",
        {"relocated": True, "recalled": True},
    ),
    "all is well": (UserStatus.TRACKED, "", {}),
}
"""Status and reason, and what of the record provokes it from half of the instants on."""


@pytest.mark.parametrize("what", STATUSES)
def test_each_status_is_said_for_its_reason_alone(what):
    expected, words, changes = STATUSES[what]
    record, _ = in_sight()
    for name, value in changes.items():
        before = np.asarray(getattr(record, name))
        before = np.broadcast_to(before, (COUNT, *before.shape[1:]))
        half = HALF.reshape(-1, *[1] * (before.ndim - 1))
        new = value * np.eye(6) if name == "user_covariance" else value
        changed = np.where(half, np.asarray(new, before.dtype), before)
        record = eqx.tree_at(lambda r: getattr(r, name), record, jnp.asarray(changed))  # noqa: B023
    status, reason = user_status(record, np.zeros(COUNT, bool), JointFilter())
    assert (status[HALF] == expected).all()
    assert all(words in each for each in np.array(reason)[HALF])
    assert (status[~HALF] == UserStatus.TRACKED).all()
    # a position that was given is known, whatever else is said
    assert (user_status(record, HALF, JointFilter())[0][HALF] == UserStatus.KNOWN).all()
