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
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade, chunks_of
from echoscape.imaging.problem import Problem
from echoscape.imaging.support_search.search import survey
from echoscape.imaging.support_search.support import Scene, Support

SCREENED = 16_384
"""Voxels on the list; a grid with fewer than four times as many is asked whole."""

_survey = eqx.filter_jit(survey)


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
    gain = _survey(scene, support).gain
    place = jnp.where(support.valid, support.index, problem.active.voxels)
    gain = gain.at[place].set(jnp.inf, mode="drop")
    listed = jnp.sort(jax.lax.top_k(gain, SCREENED)[1])
    cascade = _columns(problem.cascade, listed)
    active = ActiveVoxels(problem.grid, listed)
    short = eqx.tree_at(lambda p: (p.cascade, p.active), problem, (cascade, active))
    index = jnp.minimum(jnp.searchsorted(listed, support.index), SCREENED - 1)
    scene = scene._replace(cascade=cascade, active=active)
    return Screened(short, scene, support._replace(index=jnp.where(support.valid, index, 0)))


def restore(problem: Problem, scene: Scene, support: Support) -> tuple[Scene, Support]:
    """Put an image of listed voxels among all voxels again."""
    index = scene.active.on_grid(support.index)
    whole = scene._replace(cascade=problem.cascade, active=problem.active)
    return whole, support._replace(index=index)


def was_screened_out(scene: Scene, pays: Bool[np.ndarray, " voxel"]) -> bool:
    """Ask whether one of the voxels that pay is not on the list."""
    index = scene.active.index
    return index is not None and not np.all(np.isin(np.flatnonzero(pays), np.asarray(index)))


def _columns(cascade: Cascade, listed: Int[Array, " kept"]) -> Cascade:
    size = cascade.padded[1]
    chunk, place = listed // size, listed % size
    count, each = chunks_of(len(listed))

    def cut(segment):
        some = jnp.moveaxis(segment[chunk, ..., place], 0, -1)
        some = jnp.pad(some, [(0, 0)] * (some.ndim - 1) + [(0, count * each - len(listed))])
        return jnp.moveaxis(some.reshape(*some.shape[:-1], count, each), -2, 0)

    return Cascade(cut(cascade.user), cut(cascade.antenna))
