"""Which detection is which track: probabilities by message passing, and the decision.

Each track makes at most one detection and each detection belongs to at most one track.  The
probability of every pair under all such assignments together is found by passing messages between
tracks and detections, [williams-association]; it is exact where the graph is a tree and close
elsewhere.  The decision takes pairs that prefer one another, best first; or, by the Hungarian
method, the likeliest assignment of all.

Takes the log-odds of each pair against the detection being false or new.
Gives probabilities, and for each track its detection.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

_LOWEST = 1e-30
_SWEEPS = 10
_ROUNDS = 6
_UNHEARD_OF = 1e4  # costs more than all that is possible


def pair_probabilities(
    log_odds: Float[Array, "track detection"], log_missed: Float[Array, " track"]
) -> Float[Array, "track detection"]:
    """Find the probability that a detection is a track's, for all pairs together.

    Args:
        log_odds: Log of (probability that the track is there and detected, times the likelihood)
            over (density of false and new detections); -inf where impossible.
        log_missed: Log-probability that the track is not there or not detected.
    """
    weight = jnp.exp(jnp.clip(log_odds - log_missed[:, None], -80.0, 80.0))
    weight = jnp.where(jnp.isfinite(log_odds), weight, 0.0)

    def sweep(_, to_track):
        informed = weight * to_track
        others = 1.0 + informed.sum(axis=1, keepdims=True) - informed
        to_detection = weight / jnp.maximum(others, _LOWEST)
        rivals = 1.0 + to_detection.sum(axis=0, keepdims=True) - to_detection
        return 1.0 / jnp.maximum(rivals, _LOWEST)

    to_track = jax.lax.fori_loop(0, _SWEEPS, sweep, jnp.ones_like(weight))
    informed = weight * to_track
    return informed / (1.0 + informed.sum(axis=1, keepdims=True))


def best_pairs(
    score: Float[Array, "track detection"], possible: Bool[Array, "track detection"]
) -> Int[Array, " track"]:
    """Give each track the detection that prefers it in turn, -1 for none.

    In each round every pair that is the best of its row and of its column is taken; a handful of
    rounds settles all but chains of near ties, whose rest stays free.
    """
    tracks, detections = score.shape

    def take(_, carry):
        taken, free = carry
        left = jnp.where(free, score, -jnp.inf)
        choice = jnp.argmax(left, axis=1)
        back = jnp.argmax(left, axis=0)
        track = jnp.arange(tracks)
        mutual = free[track, choice] & (back[choice] == track)
        taken = jnp.where(mutual, choice, taken)
        used = jnp.zeros(detections, bool).at[choice].max(mutual)
        return taken, free & ~mutual[:, None] & ~used[None, :]

    none = jnp.full(tracks, -1)
    return jax.lax.fori_loop(0, _ROUNDS, take, (none, possible))[0]


def likeliest_pairs(
    log_odds: Float[Array, "track detection"], log_missed: Float[Array, " track"]
) -> Int[Array, " track"]:
    """Give each track its detection in the likeliest assignment of all together, -1 for none.

    The Hungarian method on the same odds as `pair_probabilities`; a track may stay without a
    detection at no cost, and takes one that is likelier its own than false or new.
    """
    tracks, detections = log_odds.shape
    cost = jnp.clip(log_missed[:, None] - log_odds, -_UNHEARD_OF, _UNHEARD_OF)
    cost = jnp.concatenate([cost, jnp.zeros((tracks, tracks), cost.dtype)], axis=1)
    row, column = optax.assignment.hungarian_algorithm(cost)
    choice = jnp.full(tracks, -1).at[row].set(column)
    return jnp.where(choice < detections, choice, -1)
