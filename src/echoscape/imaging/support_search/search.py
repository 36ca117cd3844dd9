"""Put an image right voxel by voxel: the discrete search after the message passing.

Message passing settles on which voxels are occupied nearly everywhere; what it leaves are single
mistakes that least squares on the list shows at once.  The search adds voxels, deletes and
exchanges them, and takes back what does not raise the posterior of all coefficients and visibility
variables.

Takes a `Scene` and a first `Support`.
Gives a better one, and what every voxel would add to it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from echoscape.imaging.support_search.support import (
    Scene,
    Support,
    gram_of,
    log_odds,
    misfit_of,
    refit,
    tidy,
)
from echoscape.imaging.support_search.survey import Candidates, survey


def _add(support: Support, found: Candidates, chosen: np.ndarray, slots: int) -> Support:
    """Append the chosen candidates, as far as there is room."""
    which = np.flatnonzero(chosen)[: max(slots - len(support.index), 0)]
    return support._replace(
        index=np.concatenate([support.index, found.index[which]]),
        value=np.concatenate([support.value, found.value[which]]),
        user=np.concatenate([support.user, found.user[:, which]], 1),
        station=np.concatenate([support.station, found.station[:, which]], 1),
        variance=np.concatenate([support.variance, np.zeros(len(which))]),
    )


def _coherence(scene: Scene, index: np.ndarray) -> Float[np.ndarray, "candidate candidate"]:
    """Coherence between the columns of candidates, everything in sight."""
    gram = gram_of(*scene.factors_of(index))
    size = np.sqrt(np.real(np.diagonal(gram)))
    return np.abs(gram) / (size[:, None] * size[None])


def _choose(scene: Scene, found: Candidates, rank: int) -> Bool[np.ndarray, " candidate"]:
    """Choose the best candidates that do not resemble one another, or only the one of a rank."""
    if rank >= 0:
        return (np.arange(len(found.index)) == rank) & (found.gain > -6.0)
    alike = np.tril(_coherence(scene, found.index) > 0.25, -1).any(1)
    return ~alike & (found.gain > max(0.4 * found.gain[0], 0))


def search(
    scene: Scene,
    support: Support,
    enough: float,
    slots: int,
    moves: int = 80,
    width: int = 12,
    tries: int = 6,
) -> Support:
    """Prune, add as long as it pays, then exchange doubtful voxels, until the noise is reached.

    Each round adds the best candidates that do not resemble one another; when that did not
    pay, the best alone, then the second best, and so on; then the voxels whose log-odds is least
    leave in turn, every other time with all that resemble them, and others may take their place.

    Args:
        scene: What does not change.
        support: Where to start.
        enough: A misfit that leaves no doubt.
        slots: The most occupied voxels.
        moves: The most rounds.
        width: Candidates looked at in a round.
        tries: Rounds of single additions before voxels are exchanged.
    """
    support = tidy(scene, support)  # what was given is settled, and nothing added yet
    value, miss = log_odds(scene, support), 0
    for _ in range(1, moves):
        left = misfit_of(scene, support) > enough
        room = tries + 2 * int(np.sum(value < (60.0 if left else 15.0)))
        doubtful = left or np.min(value, initial=np.inf) < 15.0 or miss <= 2
        if miss > room or not doubtful:
            break
        base, exchange = support, miss > tries
        if exchange:
            turn = miss - tries - 1
            leaves = np.argsort(value)[turn // 2]
            alike = _coherence(scene, support.index)[leaves] > (0.99 if turn % 2 == 0 else 0.2)
            alike[leaves] = True
            base = refit(scene, support.part(~alike))
        found = survey(scene, base, width).best
        chosen = _choose(scene, found, -1 if miss == 0 or exchange else miss - 1)
        miss += 1
        if not exchange and not chosen.any():
            continue
        new = tidy(scene, _add(base, found, chosen, slots))
        if new.score > support.score + 1e-3:
            support, miss = new, 0
            value = log_odds(scene, support)
    return support


class Evaluation(NamedTuple):
    """The support spread over the grid, and how good it is."""

    occupancy: Float[np.ndarray, " kept"]
    """Probability of being occupied; of what is not listed a half at most."""
    pays: Bool[np.ndarray, " kept"]
    """Whether adding the voxel would raise the posterior, before all others make way for it."""
    hidden: Bool[np.ndarray, "view kept"]
    """Segments that listed voxels hide."""
    log_odds: Float[np.ndarray, " listed"]
    """How much the posterior would fall without each voxel."""


def evaluate_candidates(scene: Scene, support: Support) -> Evaluation:
    """Say how probable every voxel is, from what its adding or deleting would do.

    The search did not add what is not listed, though it alone may seem to pay: it has no
    coefficient, and does not count as occupied.
    """
    found = survey(scene, support)
    value = log_odds(scene, support)
    occupancy = _sigmoid(np.clip(found.gain, -30.0, 0.0))
    occupancy[support.index] = _sigmoid(np.clip(value, -30.0, 30.0))
    users = len(support.user)
    reachable = np.any(~found.hidden[:users], 0) & np.any(~found.hidden[users:], 0)
    occupancy = np.where(reachable, occupancy, scene.prior.rate)
    return Evaluation(occupancy, found.gain > 0, found.hidden, value)


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))
