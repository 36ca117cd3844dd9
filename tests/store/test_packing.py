"""Cells that are damaged are refused, whatever was cut or changed."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.store.packing import pack, unpack
from tests.store.test_store import reports, same_paths


def test_cells_of_different_batches_come_back_together():
    """One batch's constant columns differ in another, and some sets are empty."""
    parts = [reports(5, paths=3, seed=1), reports(1, seed=2), reports(7, paths=6, seed=3)]
    cells = [cell for part in parts for cell in pack(part.estimates)[0]]
    alone = [cell for i in range(7) for cell in pack(parts[2][[i]].estimates)[0]]
    together = unpack([*cells, *alone])
    same_paths(parts[0].estimates, together[:5])
    same_paths(parts[2].estimates, together[6:13])
    same_paths(parts[2].estimates, together[13:])
    assert len({cell[3:5] for cell in [*cells, *alone]}) > 2


def test_contents_do_not_depend_on_company():
    given = reports(9, seed=4)
    together = pack(given.estimates)[1]
    assert [pack(given[[i]].estimates)[1][0] for i in range(9)] == together


def test_no_cells_are_no_paths():
    assert unpack([]).valid.shape == (0, 0)


@pytest.mark.parametrize("keep", [0, 3, 5, 12, -1, -8])
def test_cut_cells_are_refused(keep):
    cells = pack(reports(4, seed=5)[[0, 1]].estimates)[0]
    longest = max(cells, key=len)
    with pytest.raises(InputError, match="cut short"):
        unpack([cells[0], longest[:keep]])


def test_other_versions_are_refused():
    cell = pack(reports(1, seed=5).estimates)[0][0]
    with pytest.raises(InputError, match="not packed as this version"):
        unpack([b"\x02" + cell[1:]])


def test_a_negative_zero_is_not_a_zero():
    given = reports(2, seed=1)
    paths = given.estimates
    changed = np.zeros(np.shape(paths.valid))
    changed[1] = -0.0
    object.__setattr__(paths, "departure_zenith", changed)
    valid = np.asarray(paths.valid)
    back = np.asarray(unpack(pack(paths)[0]).departure_zenith)
    assert np.signbit(back[1][: valid[1].sum()]).all()
    assert not np.signbit(back[0]).any()
