"""A manoeuvre is noticed after it began: what it may have done by then is added, and once."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import JointFilter, line_of_sight
from echoscape.tracking import joint_state as js
from echoscape.tracking.anchor import predict_path
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.line_of_sight import Sight

# one compilation each, not one for every operation
expect_manoeuvre = eqx.filter_jit(line_of_sight.expect_manoeuvre)
notice_manoeuvre = eqx.filter_jit(js.notice_manoeuvre)
STATION = jnp.array([12.0, 31.0, 9.0])
SETTINGS = JointFilter(slots=8, manoeuvre=2.0, vertical_manoeuvre=0.5)
# white acceleration of density 2, 2 and 0.5 over one second
DENSITY = np.array([4.0, 4.0, 0.25])
ADDED = np.kron([[1 / 3, 1 / 2], [1 / 2, 1.0]], np.diag(DENSITY))


@pytest.fixture(scope="module")
def state():
    state = js.start_joint(
        STATION, jnp.array([1.0, 2.0, 1.5]), jnp.array([1.1, 0.4, 0.0]), jnp.array(0.0), SETTINGS
    )
    return eqx.tree_at(lambda s: (s.time, s.step), state, (jnp.array(10.0), jnp.array(0.1)))


def updated(state, change):
    """An update that took away some of the velocity's variance, and changed it."""
    axis = jnp.arange(3, 6)
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance),
        state,
        (
            state.mean.at[3].add(change),
            state.covariance.at[axis, axis].multiply(0.5),
        ),
    )


@pytest.mark.parametrize(("change", "noticed"), [(0.25, False), (0.35, True)])
def test_a_change_of_velocity_that_is_not_explained_widens_the_motion_once(state, change, noticed):
    # variance 0.01 m^2/s^2 lost half: 16 gates a change of 4 * 0.0707 = 0.28 m/s
    after = updated(state, change)
    found = notice_manoeuvre(state, after, SETTINGS)
    added = np.asarray(found.covariance - after.covariance)
    assert np.allclose(added[:6, :6], ADDED if noticed else 0.0)
    assert np.allclose(np.delete(added, np.s_[:6], axis=0), 0.0)
    assert (found.health.manoeuvre_end > found.time) == noticed
    again = updated(found, 10.0)
    twice = notice_manoeuvre(found, again, SETTINGS)
    added = np.asarray(twice.covariance - again.covariance)[:6, :6]
    assert np.allclose(added, 0.0 if noticed else ADDED)


@pytest.mark.slow
@pytest.mark.parametrize(("off", "widened"), [(0.5, False), (4.0, True), (40.0, False)])
def test_line_of_sight_that_a_turn_explains_widens_the_motion(state, off, widened):
    place = state.mean[:3] + jnp.array([0.0, off, 0.0])
    local = jnp.concatenate([place, STATION, jnp.zeros(1)])
    one = jnp.array(1.0)
    seen = predict_path(local, jnp.array(0), one, one, STATION)
    std = jnp.array([0.3, *np.radians([1.0, 1.0, 0.5, 0.5])])
    seen = Detections(
        jnp.stack([jnp.zeros(5), seen]), jnp.stack([std, std]), jnp.ones(2, bool), jnp.zeros(2)
    )
    sight = Sight(jnp.array(1), jnp.array(0.0), jnp.zeros(3))
    found = expect_manoeuvre(state, seen, sight, STATION, SETTINGS)
    added = np.asarray(found.covariance - state.covariance)[:6, :6]
    assert np.allclose(added, ADDED if widened else 0.0)
    assert (found.health.manoeuvre_end > found.time) == widened
    none = expect_manoeuvre(
        state, seen, Sight(jnp.array(-1), jnp.array(0.0), jnp.zeros(3)), STATION, SETTINGS
    )
    assert np.array_equal(none.covariance, state.covariance)
