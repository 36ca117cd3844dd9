"""Places of a grid, and a table whose empty cells mean that nothing is bounded."""

import numpy as np
import pytest
from pyarrow import parquet

from echoscape.channel_map import NearestReports, fit_map
from echoscape.localization.bounds.fisher import Bound
from echoscape.localization.bounds.table import bound_columns, grid_places, write_bounds
from echoscape.sample import load_sample


@pytest.fixture(scope="module")
def maps():
    reports = load_sample().reports
    return {"bs": fit_map(reports[:120], NearestReports())}


def test_a_grid_has_its_step_and_stays_near_the_reports(maps):
    place = grid_places(maps, 7.0, 2.5)
    report = np.asarray(maps["bs"].report_position)
    away = np.linalg.norm(place[:, None, :2] - report[None, :, :2], axis=-1).min(axis=1)
    assert 50 < len(place) < 3000
    assert away.max() <= 14.0
    assert away.max() > 7.0
    np.testing.assert_array_equal(place[:, 2], 2.5)
    steps = (place[:, :2] - report[:, :2].min(axis=0)) / 7.0
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert grid_places(maps, 7.0)[0, 2] == np.median(report[:, 2])


@pytest.mark.parametrize(("step", "sentence"), [(0.0, "above zero, in m"), (1e-3, "larger step")])
def test_a_step_must_be_sensible(maps, step, sentence):
    with pytest.raises(ValueError, match=sentence):
        grid_places(maps, step)


def test_what_is_not_bounded_is_an_empty_cell(tmp_path):
    covariance = np.array([[[4.0, 1.0], [1.0, 5.0]], np.diag([np.inf, np.inf])])
    bound = Bound(
        position=np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        information=np.zeros((2, 2, 2)),
        covariance=covariance,
        observed=np.array([True, False]),
        paths=np.array([3, 1]),
    )
    columns = bound_columns(bound, np.array([7, 9]), ["roof", "tower"])
    write_bounds(columns, tmp_path / "b.parquet")
    read = parquet.read_table(tmp_path / "b.parquet").to_pydict()
    assert read["bound"] == [3.0, None]
    assert (read["cov_xx"], read["cov_xy"], read["cov_yy"]) == ([4, None], [1, None], [5, None])
    assert read["status"] == ["bounded", "unobserved"]
    assert (read["place"], read["station"][0], read["y"]) == ([7, 9], "roof tower", [2.0, 5.0])
