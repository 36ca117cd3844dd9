"""Two targets in one set of echoes: noticed, and both located if two are allowed."""

import dataclasses

import jax
import numpy as np
import pytest

from echoscape.localization import FixStatus, Unassociated, localize
from echoscape.reports.echo_making import make_echoes
from tests.worlds.point_maps import reports_of, scatterer_map

MAP = scatterer_map()
PLACE = np.array(
    [[41.3, 57.2, 0.0], [22.1, 44.9, 0.0], [71.8, 61.4, 0.0], [63.5, 22.7, 0.0],
     [30.9, 80.2, 0.0], [84.0, 48.0, 0.0]]
)  # fmt: skip


@pytest.fixture(scope="module")
def echoes():
    """Sets of one target each, but the second of two: it holds the fourth's echoes too."""
    made = make_echoes(reports_of(MAP, PLACE), jax.random.key(7), angle_std=0.02, delay_std=1e-9)
    e = jax.tree.map(np.asarray, made.echoes.estimates)
    wide = jax.tree.map(
        lambda leaf: np.concatenate([leaf, np.where(np.arange(6)[:, None] == 1, leaf[[3]], 0)], 1),
        e,
    )
    valid = np.concatenate([e.valid, e.valid & (np.arange(6)[:, None] == 1)], axis=1)
    return dataclasses.replace(made.echoes, estimates=dataclasses.replace(wide, valid=valid))


@pytest.mark.slow
def test_a_set_of_two_targets_is_called_so_and_no_other(echoes):
    fix = localize(echoes, MAP)
    assert fix.status[1] == FixStatus.SEVERAL
    assert (np.delete(fix.status, 1) != FixStatus.SEVERAL).all()
    nearest = np.linalg.norm(fix.best[1, :2] - PLACE[[1, 3], :2], axis=1).min()
    assert nearest < 0.5


@pytest.mark.slow
def test_both_are_located_where_two_are_allowed(echoes):
    fix = localize(echoes, MAP, method=Unassociated(targets=2))
    assert fix.target.tolist() == [0, 2, 3, 4, 6, 8, 10]
    both = fix.best[np.isin(fix.target, [2, 3]), :2]
    error = np.linalg.norm(both[:, None] - PLACE[None, [1, 3], :2], axis=-1)
    assert error.min(axis=0).max() < 0.5
    assert (fix.status == FixStatus.LOCATED).sum() >= 6
