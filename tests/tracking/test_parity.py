"""Parity: departures are compared with bearings, whose own error counts."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter
from echoscape.tracking.joint_state import PER_SLOT, USER
from echoscape.tracking.joint_update import Match
from echoscape.tracking.parity import compare_parities
from tests.tracking.test_joint_update import PLACE, STATION, STD, detect, state_of

SETTINGS = JointFilter(slots=8)
compare = eqx.filter_jit(compare_parities)


def compared(bearing_std, shift):
    """Compare two departures, the second shifted, from an anchor of uncertain bearing."""
    state = state_of(SETTINGS, 1e-3)
    anchor = PLACE + np.array([60.0, 0.0, 0.0])
    at = USER + PER_SLOT * 3
    aside = at + 1  # the anchor lies along x, so y alone turns the bearing
    state = eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots.identity),
        state,
        (
            state.mean.at[at : at + 3].set(jnp.asarray(anchor)),
            state.covariance.at[aside, aside].add((60.0 * bearing_std) ** 2),
            state.slots.identity.at[3].set(7),
        ),
    )
    none = jnp.zeros(8)
    match = Match(
        jnp.full(8, -1).at[3].set(0), none, none, jnp.zeros((8, 5)), jnp.zeros((8, 5)),
        jnp.ones(1, bool),
    )  # fmt: skip
    for angle in (0.0, shift):
        seen = detect([60.0, 0.0, 1.5, 1.0 + angle, 1.5])
        state = compare(state, seen, match, jnp.asarray(STATION), SETTINGS)
    return state


@pytest.mark.slow
@pytest.mark.parametrize("bearing_std", [1e-4, 0.03])
def test_evidence_counts_the_error_of_the_bearing(bearing_std):
    state = compared(bearing_std, 0.05)
    noise = STD[3] ** 2 + bearing_std**2
    expected = -0.5 * 0.05**2 / (2 * noise)  # two looks at a constant, one sense as the other
    assert np.allclose(state.slots.evidence[3], expected, rtol=2e-3)
    assert state.slots.kind[3] == AnchorType.UNDECIDED
