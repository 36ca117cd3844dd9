"""Put an image right voxel by voxel: the discrete search after the message passing.

Message passing settles on which voxels are occupied nearly everywhere; what it leaves are single
mistakes that least squares on the list shows at once.  The search adds voxels, deletes and
exchanges them, and takes back what does not raise the posterior of all coefficients and visibility
variables. Every open segment tells that nothing stands in it, every closed one that something does;
so what might be added is asked about all the segments it would close.

Takes a `Scene` and a first `Support`.
Gives a better one, and what every voxel would add to it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int

from echoscape.imaging.occlusion.shadows import cast_shadows, occupancy_messages
from echoscape.imaging.operator.products import correlate, correlate_power, join
from echoscape.imaging.support_search.support import (
    BLOCKED,
    Scene,
    Support,
    coefficient_log_prior,
    factors_of,
    gram_of,
    log_odds,
    misfit_of,
    refit,
    tidy,
    unexplained,
    voxel_log_prior,
)

_LEVELS = 9
"""Sizes of a coefficient that are tried where one might be added."""


class Candidates(NamedTuple):
    """What might be added, best first."""

    index: Int[Array, " candidate"]
    gain: Float[Array, " candidate"]
    value: Inexact[Array, " candidate"]
    user: Bool[Array, "user candidate"]
    station: Bool[Array, "station candidate"]


class Survey(NamedTuple):
    """Every kept voxel as what might be added; flat over these."""

    gain: Float[Array, " kept"]
    """How much the posterior would rise; minus infinity where the voxel is listed."""
    value: Inexact[Array, " padded"]
    """Its best coefficient."""
    user: Bool[Array, "chunk user voxel_of_chunk"]
    """Bits of its segments from the users."""
    station: Bool[Array, "chunk station voxel_of_chunk"]
    """Bits of its segments to the stations."""
    hidden: Bool[Array, "view kept"]
    """Segments that listed voxels hide."""


def survey(scene: Scene, support: Support) -> Survey:
    """Ask for every voxel how much adding it, on its own, would raise the posterior."""
    active, real = scene.active, support.variance.dtype
    grid = active.grid
    users = support.user.shape[0]
    nothing = jnp.zeros((len(scene.view), grid.voxels), real)
    first = jnp.argsort(~support.valid, stable=True)  # free slots last, where none is asked
    index, listed = active.on_grid(support.index[first]), jnp.sum(support.valid)
    standing = support.valid[first].astype(real)
    hidden = cast_shadows(nothing, grid, scene.view, index, standing, listed, scene.radius)
    hidden = hidden > 0
    segments = jnp.concatenate([support.user, support.station])[:, first]
    occupancy_message = occupancy_messages(
        grid,
        scene.view,
        index,
        listed,
        jnp.where(segments, 30.0, -30.0),
        standing,
        jnp.where(hidden[:, index], -30.0, 0.0).astype(real),
        jnp.zeros(grid.voxels, real),
        scene.false_occlusion,
        BLOCKED,
        scene.radius,
    )
    hidden, occupancy_message = active.pick(hidden), active.pick(occupancy_message)
    odds = jnp.where(hidden, -BLOCKED, jnp.log((1 - scene.false_occlusion) / scene.false_occlusion))
    chunks, size = scene.cascade.padded
    pad = chunks * size - active.voxels
    odds = jnp.pad(odds.astype(real), ((0, 0), (0, pad)), constant_values=-BLOCKED)
    odds = jnp.moveaxis(odds.reshape(-1, chunks, size), 0, 1)
    typical, width = jnp.abs(scene.prior.mean), jnp.sqrt(scene.prior.variance)
    level = typical + width * jnp.linspace(-1.7, 1.7, _LEVELS)
    level = jnp.maximum(level, 0.15 * (typical + width))
    ones = jnp.ones(scene.received.shape, real)

    def chunk(_, parts):
        user, antenna, odds = parts
        power = correlate_power(user, antenna, ones) / scene.noise
        link = correlate(user, antenna, support.residual) / scene.noise
        for_user, for_station = odds[:users], odds[users:]
        station = (for_station > 0) * 1.0

        def turned(link, station, weight):
            total = jnp.einsum("kbn,bn,kn->n", link, station, weight)
            if jnp.iscomplexobj(support.value):
                return total / jnp.maximum(jnp.abs(total), 1e-30)
            return jnp.where(jnp.real(scene.prior.mean) < 0, -1.0, 1.0) * jnp.ones(size)

        def explained(station, phase, soften):
            """Best size, its gain, and the visibility variables of the users."""
            a = jnp.einsum("kbn,bn->kn", jnp.real(jnp.conj(phase)[None, None] * link), station)
            w = jnp.einsum("kbn,bn->kn", power, station)

            def at(x):
                return jnp.sum(soften(2 * x * a - x**2 * w + for_user), 0)

            gain = jax.lax.map(at, level)
            x = level[jnp.argmax(gain, 0)]
            gain = jnp.max(gain, 0) - jnp.sum(jax.nn.softplus(for_user), 0)
            return gain, x, 2 * x[None] * a - (x**2)[None] * w + for_user > 0

        phase = turned(link, station, (for_user > 0) * 1.0)
        _, x, seen = explained(station, phase, jax.nn.relu)
        gain = jnp.zeros(size, real)
        for soften in (jax.nn.relu, jax.nn.softplus):  # the last alone needs the exact sum
            x_ = x[None, None]
            q = 2 * x_ * jnp.real(jnp.conj(phase)[None, None] * link) - x_**2 * power
            station = (jnp.einsum("kbn,kn->bn", q, seen * 1.0) + for_station > 0) * 1.0
            phase = turned(link, station, seen * 1.0)
            gain, x, seen = explained(station, phase, soften)
        gain -= jnp.sum(jnp.logaddexp(0, jnp.where(station > 0, -for_station, for_station)), 0)
        sure = jnp.einsum("kbn,bn,kn->n", power, station, seen * 1.0)
        half = 1.0 if jnp.iscomplexobj(support.value) else 0.5
        gain += coefficient_log_prior(scene, x * phase, half / jnp.maximum(sure, 1e-9))
        alive = jnp.any(seen, 0) & jnp.any(station > 0, 0)
        gain = jnp.where(alive, gain, -jnp.inf)
        return None, (gain, (x * phase).astype(support.value.dtype), seen, station > 0)

    parts = (scene.cascade.user, scene.cascade.antenna, odds)
    gain, value, user, station = jax.lax.scan(chunk, None, parts)[1]
    gain = gain.reshape(-1)[: active.voxels] + occupancy_message + voxel_log_prior(scene)
    taken = jnp.where(support.valid, support.index, active.voxels)
    gain = gain.at[taken].set(-jnp.inf, mode="drop")
    return Survey(gain, value.reshape(-1), user, station, hidden)


def candidates(scene: Scene, support: Support, count: int) -> Candidates:
    """Find the voxels whose adding would raise the posterior most, each on its own."""
    found = survey(scene, support)
    gain, index = jax.lax.top_k(found.gain, count)
    size = found.user.shape[-1]
    user, station = (
        jnp.moveaxis(segments[index // size, :, index % size], 0, -1)
        for segments in (found.user, found.station)
    )
    return Candidates(index, gain, found.value[index], user, station)


def _add(scene: Scene, support: Support, found: Candidates, chosen: Array) -> Support:
    """Put the chosen candidates into free slots."""
    free = jnp.argsort(support.valid)[: len(chosen)]  # False first
    chosen = chosen & ~support.valid[free]

    def put(old, new):
        return old.at[..., free].set(
            jnp.where(chosen.reshape(*[1] * (old.ndim - 1), -1), new, old[..., free])
        )

    return support._replace(
        index=put(support.index, found.index),
        valid=put(support.valid, True),
        value=put(support.value, found.value),
        user=put(support.user, found.user),
        station=put(support.station, found.station),
    )


def _coherence(scene: Scene, index: Array) -> Float[Array, "candidate candidate"]:
    """Coherence between the columns of candidates, everything in sight."""
    gram = gram_of(*(join(segment) for segment in factors_of(scene, index)))
    size = jnp.sqrt(jnp.real(jnp.diagonal(gram)))
    return jnp.abs(gram) / (size[:, None] * size[None])


def _choose(scene: Scene, found: Candidates, rank: Array) -> Bool[Array, " candidate"]:
    """Choose the best candidates that do not resemble one another, or only the one of a rank."""
    width = len(found.index)
    alike = _coherence(scene, found.index) > 0.25
    earlier = jnp.tril(jnp.ones((width, width), bool), -1)
    together = ~jnp.any(alike & earlier, 1) & (found.gain > jnp.maximum(0.4 * found.gain[0], 0))
    alone = (jnp.arange(width) == rank) & (found.gain > -6.0)
    return jnp.where(rank < 0, together, alone)


@eqx.filter_jit
def search(
    scene: Scene, support: Support, enough: float, moves: int = 80, width: int = 12, tries: int = 6
) -> Support:
    """Prune, add as long as it pays, then exchange doubtful voxels, until the noise is reached.

    Each round adds the best candidates that do not resemble one another; when that did not
    pay, the best alone, then the second best, and so on; then the voxels whose log-odds is least
    leave in turn, every other time with all that resemble them, and others may take their place.

    Args:
        scene: What does not change.
        support: Where to start.
        enough: A misfit that leaves no doubt.
        moves: The most rounds.
        width: Candidates looked at in a round.
        tries: Rounds of single additions before voxels are exchanged.
    """

    def going(carry):
        support, miss, move, value = carry
        left = misfit_of(scene, support) > enough
        room = tries + 2 * jnp.sum(value < jnp.where(left, 60.0, 15.0))
        doubtful = left | (jnp.min(value) < 15.0) | (miss <= 2)
        return (miss <= room) & (move < moves) & doubtful

    def attempt(carry):
        support, miss, move, value = carry
        turn = jnp.maximum(miss - tries - 1, 0)
        exchange = miss > tries
        leaves = jnp.argsort(value)[turn // 2]
        alike = _coherence(scene, support.index)[leaves] > jnp.where(turn % 2 == 0, 0.99, 0.2)
        alike = alike.at[leaves].set(True) & exchange
        base = refit(scene, support._replace(valid=support.valid & ~alike))
        found = candidates(scene, base, width)
        chosen = _choose(scene, found, jnp.where((miss == 0) | exchange, -1, miss - 1))
        # The first move adds nothing: it settles what it was given.
        new = tidy(scene, _add(scene, base, found, chosen & (move > 0)))
        pays = (new.score > support.score + 1e-3) | (move == 0)
        support = jax.tree.map(lambda n, o: jnp.where(pays, n, o), new, support)
        return support, jnp.where(pays, 0, miss + 1), move + 1, log_odds(scene, support)

    zero = jnp.zeros((), jnp.int32)
    start = (support, zero, zero, jnp.zeros_like(support.variance))
    return jax.lax.while_loop(going, attempt, start)[0]


class Evaluation(NamedTuple):
    """The support spread over the grid, and how good it is."""

    occupancy: Float[Array, " kept"]
    """Probability of being occupied; of what is not listed a half at most."""
    pays: Bool[Array, " kept"]
    """Whether adding the voxel would raise the posterior, before all others make way for it."""
    hidden: Bool[Array, "view kept"]
    """Segments that listed voxels hide."""
    log_odds: Float[Array, " slot"]
    """How much the posterior would fall without each voxel."""
    unexplained: Int[Array, ""]
    """Closed segments through which no listed voxel stands."""


@eqx.filter_jit
def evaluate_candidates(scene: Scene, support: Support) -> Evaluation:
    """Say how probable every voxel is, from what its adding or deleting would do.

    The search did not add what is not listed, though it alone may seem to pay: it has no
    coefficient, and does not count as occupied.
    """
    found = survey(scene, support)
    value = log_odds(scene, support)
    occupancy = jax.nn.sigmoid(jnp.clip(found.gain, -30.0, 0.0))
    active = jax.nn.sigmoid(jnp.clip(value, -30.0, 30.0))
    place = jnp.where(support.valid, support.index, scene.active.voxels)
    occupancy = occupancy.at[place].set(active.astype(occupancy.dtype), mode="drop")
    users = support.user.shape[0]
    reachable = jnp.any(~found.hidden[:users], 0) & jnp.any(~found.hidden[users:], 0)
    occupancy = jnp.where(reachable, occupancy, scene.prior.rate)
    return Evaluation(occupancy, found.gain > 0, found.hidden, value, unexplained(scene, support))
