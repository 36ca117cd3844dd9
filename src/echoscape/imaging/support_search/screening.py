"""A large problem cut down to the voxels that may matter.

Message passing over all voxels shows at once that nearly all of them are empty.  What is doubtful
goes on a list, from what adding each voxel to the image would gain, and further starts and the
search ask these few only.  At the end all are asked once more, and if one that was left out would
be worth adding, the list is made anew.

Takes a `Problem` of all voxels, and the image so far.
Gives the same with fewer voxels, and the way back.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade, chunks_of
from echoscape.imaging.problem import Problem
from echoscape.imaging.support_search.support import Scene, Support
from echoscape.imaging.support_search.survey import survey

SCREENED = 16_384
"""Voxels on the list; a grid with fewer than four times as many is asked whole."""


class Screened(NamedTuple):
    """A problem with fewer voxels, and the image on these."""

    problem: Problem
    scene: Scene
    support: Support


def is_large(problem: Problem) -> bool:
    """Ask whether a problem is worth cutting down."""
    return problem.active.voxels > 4 * SCREENED


def screen(problem: Problem, scene: Scene, support: Support) -> Screened:
    """List the voxels that might best be added, with those of the image.

    Args:
        problem: All voxels.
        scene: All voxels as the search sees them.
        support: The image so far, of these.
    """
    gain = survey(scene, support).gain.copy()
    gain[support.index] = np.inf
    listed = np.sort(np.argpartition(-gain, SCREENED - 1)[:SCREENED])
    cascade = _columns(problem.cascade, listed)
    active = ActiveVoxels(problem.grid, jnp.asarray(listed))
    short = eqx.tree_at(
        lambda p: (p.cascade, p.active), problem, (cascade, active), is_leaf=lambda x: x is None
    )
    index = np.searchsorted(listed, support.index)
    return Screened(short, scene.over(short), support._replace(index=index))


def restore(problem: Problem, scene: Scene, support: Support) -> tuple[Scene, Support]:
    """Put an image of listed voxels among all voxels again."""
    return scene.over(problem), support._replace(index=scene.on_grid(support.index))


def was_screened_out(scene: Scene, pays: Bool[np.ndarray, " voxel"]) -> bool:
    """Ask whether one of the voxels that pay is not on the list."""
    if scene.active.index is None:
        return False
    return not np.all(np.isin(np.flatnonzero(pays), np.asarray(scene.active.index)))


def _columns(cascade: Cascade, listed: Int[np.ndarray, " kept"]) -> Cascade:
    size = cascade.padded[1]
    chunk, place = listed // size, listed % size
    count, each = chunks_of(len(listed))

    def cut(segment):
        some = np.moveaxis(np.asarray(segment)[chunk, ..., place], 0, -1)
        some = np.pad(some, [(0, 0)] * (some.ndim - 1) + [(0, count * each - len(listed))])
        return jnp.asarray(np.moveaxis(some.reshape(*some.shape[:-1], count, each), -2, 0))

    return Cascade(cut(cascade.user), cut(cascade.antenna))
