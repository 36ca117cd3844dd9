"""After a blackout, points of before are tried against the new ones as a set.

A user nobody has seen for seconds may be anywhere within many metres, and then no detection tells
its point by itself.  So points that are not detected for `JointFilter.memory` are taken out of the
association, but kept with their covariance, and whatever appears founds new points around a user
who may be wrong.  The wrong position moves all of them alike: if they are points of before, they
lie beside those in one arrangement.  How likely the arrangement is follows from the joint
covariance of user and points, and is compared with new points that could lie anywhere; nothing but
differences of positions and of rotations enters, so the comparison is linear whatever the user's
error.

Several arrangements are built, each from its own first pair, by adding the pair that gains most
under the covariance conditioned on the pairs before, as in joint compatibility [neira-jcbb].  Each
pair is also compared with a twin: facades beside one another make images some metres apart, whose
departures are the same.  The best is accepted when it is a hundred times likelier than all others
that place the user elsewhere, and that all points are new, together; until then the user keeps the
covariance that covers them all.  Then the state is conditioned on the pairs being the same points,
and the user moves with them.

Takes a `JointState`.
Gives it with points recalled, where they were.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.kalman import Gaussian, condition
from echoscape.numerics.small import mahalanobis
from echoscape.tracking.anchor import AnchorType, mirror_sign
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import NEVER, PER_SLOT, USER, JointState, is_dormant
from echoscape.units import wrap_angle

MOVED = 1.0
"""Level distance by which recalled points must move the user for it to count as relocated [m]."""
_YOUNG, _FIRST, _MOST = 12, 8, 6  # new points compared, arrangements built, pairs of each
_AREA = math.log(math.pi * 100.0**2)  # where images of new points lie [log m^2]
_SHARE = 0.25  # of new points that are points of before; of those that are twins of one, likewise
_TWIN_STD = 5.0  # of a point in a neighbouring facade about that in a facade [m]
_SAME_STD = 0.3  # of the positions of a point found twice, for walls that are not flat [m]
_ANGLE_STD = math.radians(1.0)  # of its rotations [rad]
_GATE = 16.0  # squared Mahalanobis distance of a pair, with 2 numbers
_ELSEWHERE = 3.0  # users that differ by more contradict one another [m]
_LEAST = 1.0  # evidence of a further pair [nat]
_MARGIN = 4.6  # a wrong arrangement in a hundred: log-odds against all others [nat]


class Arrangement(NamedTuple):
    """New points paired with points of before."""

    young: Int[Array, " pair"]
    """Slots of the new points, -1 for none."""
    old: Int[Array, " pair"]
    """Slots of the points of before, -1 for none."""
    evidence: Float[Array, ""]
    """Log Bayes factor against all of them being new [nat]."""
    user: Float[Array, "2"]
    """Where it places the user [m]."""


def recall_points(
    state: JointState, settings: JointFilter, established: int
) -> tuple[JointState, Bool[Array, ""]]:
    """Recognise points of before among the new ones, where all of them together speak for it.

    Args:
        state: The state.
        settings: What the filter assumes.
        established: Detections from which on a point is believed.

    Returns:
        The state, and whether that moved the user by more than `MOVED`.
    """
    slots = state.slots
    imaged = (slots.kind != AnchorType.STATION) & (slots.kind != AnchorType.SCATTERER)
    believed = imaged & (slots.identity >= 0) & (slots.hits >= established)
    dormant = is_dormant(state, settings)
    young, old = believed & ~dormant, believed & dormant
    due = (young.sum() >= 2) & (old.sum() >= 2)

    def attempt(state):
        best, accepted = best_arrangement(state, young, old)
        return jax.lax.cond(accepted, lambda s: _join(s, best), lambda s: s, state)

    after = jax.lax.cond(due, attempt, lambda s: s, state)
    return after, jnp.linalg.norm(after.mean[:2] - state.mean[:2]) > MOVED


def best_arrangement(
    state: JointState, young: Bool[Array, " slot"], old: Bool[Array, " slot"]
) -> tuple[Arrangement, Bool[Array, ""]]:
    """Find the likeliest arrangement, and whether it is to be believed."""
    count = young.shape[0]
    newest = jnp.argsort(jnp.where(young, -state.slots.founded, jnp.inf))[:_YOUNG]
    turned = _turned(state, newest)
    founded, seen = state.slots.founded[newest], state.slots.seen
    possible = young[newest][:, None] & old[None, :] & (seen[None, :] < founded[:, None])
    points = jnp.concatenate([jnp.zeros(1, int), USER + PER_SLOT * jnp.arange(count)])
    level = points[:, None] + jnp.arange(2)[None]
    place = state.mean[level]
    block = state.covariance[level[:, :, None, None], level[None, None]]  # point 2 point 2
    ahead = newest + 1
    own = jnp.diagonal(block, axis1=0, axis2=2).transpose(2, 0, 1)
    cross = block.transpose(0, 2, 1, 3)[ahead][:, 1:]
    spread = own[ahead][:, None] + own[None, 1:] - cross - cross.transpose(0, 1, 3, 2)
    spread = spread + _SAME_STD**2 * jnp.eye(2)[None, None]
    apart = place[ahead][:, None] - place[None, 1:]

    share = math.log(_SHARE) - jnp.log(jnp.maximum(old.sum(), 1))

    def evidence(apart, spread, free):
        def seen_again(spread):
            squared, log_determinant = mahalanobis(apart, spread)
            density = -0.5 * (squared + log_determinant) - math.log(2 * math.pi)
            return squared, density + _AREA + turned + share

        squared, same = seen_again(spread)
        _, twin = seen_again(spread + _TWIN_STD**2 * jnp.eye(2)[None, None])
        found = same - jnp.logaddexp(math.log(1 - _SHARE), twin)
        return jnp.where(free & (squared < _GATE), found, -jnp.inf).reshape(-1)

    def arrange(first):
        def add(carry, number):
            # the state is conditioned on a pair by two rows of `root`: its covariance becomes
            # ``block - root^T root``, and nothing but the pairs' differences is kept of it
            apart, spread, free, root, user = carry
            gain = evidence(apart, spread, free)
            best = jnp.where(number == 0, first, jnp.argmax(gain))
            taken = jnp.where(number == 0, jnp.isfinite(gain[best]), gain[best] > _LEAST)
            i, j = best // count, best % count
            one, two = ahead[i], j + 1
            known = root[:, one] - root[:, two]
            joint = block[one] - block[two] - jnp.einsum("ra,rpb->apb", known, root)
            lower = jnp.linalg.cholesky(spread[i, j])
            rows = jax.scipy.linalg.solve_triangular(lower, joint.reshape(2, -1), lower=True)
            rows = jnp.where(taken, rows, 0.0).reshape(joint.shape)
            shift = -jax.scipy.linalg.solve_triangular(lower, apart[i, j], lower=True)
            between = rows[:, ahead][:, :, None] - rows[:, None, 1:]
            apart = apart + jnp.einsum("r,ryoa->yoa", shift, between)
            spread = spread - jnp.einsum("ryoa,ryob->yoab", between, between)
            root = jax.lax.dynamic_update_slice(root, rows, (2 * number, 0, 0))
            used = (jnp.arange(len(ahead)) == i)[:, None] | (jnp.arange(count) == j)[None]
            pair = jnp.where(taken, jnp.stack([newest[i], j]), -1)
            carry = apart, spread, free & ~(taken & used), root, user + shift @ rows[:, 0]
            return carry, (pair, jnp.where(taken, gain[best], 0.0))

        start = apart, spread, possible, jnp.zeros((2 * _MOST, count + 1, 2)), place[0]
        (*_, user), (pair, gain) = jax.lax.scan(add, start, jnp.arange(_MOST))
        return Arrangement(pair[:, 0], pair[:, 1], gain.sum(), user)

    first = jax.lax.top_k(evidence(apart, spread, possible), _FIRST)[1]
    every = jax.vmap(arrange)(first)
    best = jax.tree.map(lambda leaf: leaf[jnp.argmax(every.evidence)], every)
    apart = jnp.linalg.norm(every.user - best.user[None], axis=1) > _ELSEWHERE
    others = jnp.where(apart, every.evidence, -jnp.inf)
    others = jax.scipy.special.logsumexp(jnp.append(others, 0.0))  # or all are new
    enough = (best.young >= 0).sum() >= 2
    return best, enough & (best.evidence > others + _MARGIN)


def _turned(state: JointState, newest: Int[Array, " young"]) -> Float[Array, "young slot"]:
    """Compare departures: the user's position cancels in the offset of an image's departure.

    Returns:
        Log-ratio of the same offset against any [nat]; -inf where one image is mirrored in the
        ground and the other is not.
    """
    slots = state.slots
    sign = jax.vmap(mirror_sign)(slots.kind, slots.reflection)
    difference = wrap_angle(slots.offset[newest][:, None] - slots.offset[None])
    variance = slots.offset_variance[newest][:, None] + slots.offset_variance[None]
    variance = variance + _ANGLE_STD**2
    ratio = -0.5 * difference**2 / variance[..., None] + 0.5 * jnp.log(
        2 * math.pi / variance[..., None]
    )
    mirrored = jnp.where(sign[None] < 0, ratio[..., 1], ratio[..., 0])
    undecided = jnp.logaddexp(ratio[..., 0], ratio[..., 1]) - math.log(2)
    ratio = jnp.where(slots.kind[None] == AnchorType.UNDECIDED, undecided, mirrored)
    compared = (slots.epochs[newest] > 0)[:, None] & (slots.epochs > 0)[None]
    flip = slots.vertical_reflection
    same = flip[newest][:, None] == flip[None]
    return jnp.where(same, jnp.where(compared, ratio, 0.0), -jnp.inf)


def _join(state: JointState, best: Arrangement) -> JointState:
    """Condition the state on the pairs being the same points; the older slot goes on."""
    slots, used = state.slots, best.young >= 0
    count, size = slots.kind.shape[0], state.mean.shape[0]
    young, old = jnp.maximum(best.young, 0), jnp.maximum(best.old, 0)
    row, axis = jnp.arange(_MOST)[:, None], jnp.arange(3)[None]
    pick = jnp.zeros((_MOST, 3, size))
    pick = pick.at[row, axis, USER + PER_SLOT * young[:, None] + axis].set(1.0)
    pick = pick.at[row, axis, USER + PER_SLOT * old[:, None] + axis].add(-1.0)
    pick = jnp.where(used[:, None, None], pick, 0.0).reshape(-1, size)
    cross = pick @ state.covariance
    inner = cross @ pick.T + _SAME_STD**2 * jnp.eye(len(pick))
    after = condition(Gaussian(state.mean, state.covariance), -pick @ state.mean, inner, cross)
    # written beyond the slots where there is no pair, which changes nothing
    source, target = jnp.where(used, young, count), jnp.where(used, old, count)

    def carried(values):
        return values.at[target].set(values[young], mode="drop")

    return eqx.tree_at(
        lambda s: (
            s.mean, s.covariance, s.slots.odds, s.slots.seen, s.slots.hits, s.slots.residual_mean,
            s.slots.scatter_odds, s.slots.identity,
        ),
        state,
        (
            after.mean, after.covariance, carried(slots.odds), carried(slots.seen),
            slots.hits.at[target].add(slots.hits[young], mode="drop"),
            slots.residual_mean.at[target].set(0.0, mode="drop"),
            slots.scatter_odds.at[target].set(NEVER, mode="drop"),
            slots.identity.at[source].set(-1, mode="drop"),
        ),
    )  # fmt: skip
