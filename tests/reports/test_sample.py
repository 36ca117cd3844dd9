"""The sample the package carries: size, honesty of its split, drawing."""

import importlib.util
import pathlib
from importlib import resources

import jax
import numpy as np

from echoscape.reports import read_reports, summarize_reports
from echoscape.sample import load_sample
from echoscape.units import SPEED_OF_LIGHT


def test_the_sample_is_small_and_says_where_it_comes_from():
    files = [file for file in resources.files("echoscape.sample").iterdir() if file.is_file()]
    assert sum(len(file.read_bytes()) for file in files) < 1.5e6
    notice = resources.files("echoscape.sample").joinpath("NOTICE.md").read_text()
    assert "OpenStreetMap contributors" in notice
    assert "Open Database License (ODbL) 1.0" in notice


def test_targets_are_unseen_and_never_among_the_reports():
    reports, targets, _ = load_sample()
    assert 1400 < len(reports.report) <= 1500
    assert len(targets.report) == 150
    gap = np.linalg.norm(reports.position[:, None] - targets.position, axis=-1)
    assert gap.min() > 1.0
    assert targets.report.min() >= 9000 > 1500 > reports.report.max()
    assert (targets.estimates.valid.sum(axis=1) >= 3).all()
    straight = np.linalg.norm(targets.position - targets.station_position[0], axis=1)
    first = np.where(targets.estimates.valid, targets.estimates.delay, 1).min(axis=1)
    excess = first * SPEED_OF_LIGHT - straight
    assert excess.min() > -1e-3
    assert np.mean(excess > 0.01) > 0.95  # the rest bends around a corner
    for part in (reports, targets):
        assert summarize_reports(part).warnings == ()
        assert part.estimates.valid.shape[1] == 12


def test_the_walls_enclose_no_user():
    reports, targets, scene = load_sample()
    cells = (scene["height_x"], scene["height_y"])
    for position in (reports.position, targets.position):
        at = [np.abs(c[:, None] - position[:, i]).argmin(axis=0) for i, c in enumerate(cells)]
        assert np.mean(scene["height_dm"][at[0], at[1]] > 15) < 0.02  # cells on an edge
    assert scene["faces"].max() == len(scene["vertices"]) - 1
    ends = scene["outline"].reshape(-1, 2)
    assert (ends >= [-15.1, 41.9]).all()
    assert (ends <= [255.1, 312.1]).all()


def test_the_sample_is_what_its_script_cuts(shared, tmp_path):
    script = pathlib.Path(__file__).parents[2] / "tools/cut_sample.py"
    specification = importlib.util.spec_from_file_location("cut_sample", script)
    cut = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(cut)
    cut.OUT = tmp_path
    cut.main(shared / "data/rt_ckm")
    reports, targets, scene = load_sample()
    for name, packaged in (("reports", reports), ("targets", targets)):
        again = read_reports(tmp_path / f"{name}.parquet")
        for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(packaged), strict=True):
            np.testing.assert_array_equal(one, other)
    with np.load(tmp_path / "scene.npz") as file:
        for name, values in scene.items():
            np.testing.assert_allclose(file[name], values, atol=0.02)
