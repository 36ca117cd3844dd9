"""The study of samples: quick points give rows, and rows give figures."""

import json

import numpy as np
import pytest

from echoscape.studies.nlos_ckm import from_samples as nlos_samples
from echoscape.studies.sweep import setting_name, sweep


@pytest.mark.slow
def test_quick_points_are_measured_and_drawn():
    points = nlos_samples.points(True, 3)
    rows = sweep(points, nlos_samples.measure)
    json.dumps(rows, allow_nan=False)
    methods = {row["method"] for row in rows if row["part"] == "locate"}
    assert methods == {"direct", "bound"}
    direct = next(row for row in rows if row["method"] == "direct")
    assert direct["count"] == 2
    assert direct["median"] < 3.0  # 6 antennas, 20 dB: bounds of decimetres
    estimators = [row for row in rows if row["part"] == "estimate"]
    assert all(row["found"] == 1.0 for row in estimators)
    figures = nlos_samples.draw(rows)
    assert sorted(figures) == ["direct", "estimators"]
    assert nlos_samples.draw(estimators).keys() == {"estimators"}


def test_the_full_study_asks_for_a_hundred_targets_and_every_estimator():
    points = nlos_samples.points(False, 0)
    assert len({setting_name(point) for point in points}) == len(points)
    locate = [point for point in points if point["part"] == "locate"]
    assert all(point["layouts"] * point["targets"] >= 100 for point in locate)
    assert all(point["detected"] for point in locate)
    assert {5.0, 10.0, 40.0} <= {point["snr_db"] for point in locate}


def test_unresolved_echoes_are_half_a_cell_apart():
    shape = (8, 8, 64)
    found = nlos_samples.random_tones("unresolved", shape, np.random.default_rng(0))
    cells = (found[3:] - found[:3]) * np.asarray(shape) / (2 * np.pi)
    np.testing.assert_allclose(np.abs(cells), 0.5)
