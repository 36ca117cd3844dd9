"""The study of imaging: points and summaries at once, the quick setting through the command."""

import json

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.studies.occlusion_imaging import study
from echoscape.studies.occlusion_imaging.figures import figures, values_of
from echoscape.studies.occlusion_imaging.study import (
    METHODS,
    OcclusionImaging,
    point_name,
    points,
    run,
    settings_of,
    summary,
)
from echoscape.studies.occlusion_imaging.world import make_world
from echoscape.studies.sweep import setting_name


def made_rows():
    """Rows as the study keeps them, with errors that are known."""
    generator = np.random.default_rng(0)
    rows = []
    for point in points():
        for seed in (0, 1):
            for k, method in enumerate(METHODS):
                above = 0.5 if method == "visibility" and seed == 0 else 2.0 * k
                rows.append(
                    {**point, "seed": seed, "method": method, "error_db": -30.0 + above,
                     "error_full_db": -20.0 + above, "above_genie_db": above, "f1": 0.9,
                     "certified": method == "visibility" and seed == 0, "seconds": 1.0,
                     "unseen_precision": 0.8, "unseen_recall": 0.7, "unseen_true": 12,
                     "unseen_expected": 10.0, "unseen_said": 14,
                     "trace": generator.uniform(1, 2, 5).tolist(),
                     "voxels": [3, 70], "values": [0.4, 0.9], "true_voxels": [3, 70],
                     "true_values": [0.5, 0.9], "grid_shape": [16, 16, 8]}
                )  # fmt: skip
    return rows


def test_every_point_is_a_setting_of_its_own():
    settings = settings_of(OcclusionImaging(seeds=3))
    assert len({setting_name(setting) for setting in settings}) == len(settings) == 3 * 49
    assert len({point_name(point) for point in points()}) == 49
    # All points of one seed come before the next seed: an interrupted study is even.
    assert [setting["seed"] for setting in settings[:49]] == [5000] * 49


def test_a_summary_counts_what_it_says():
    found = {(row["point"], row["method"]): row for row in summary(made_rows())}
    ours = found["5 stations", "visibility"]
    assert ours["seeds"] == 2
    assert ours["within_1_db"] == 0.5  # 0.5 and 6 dB above genie
    assert ours["certified"] == 0.5
    assert ours["good_if_certified"] == 1.0
    assert ours["unseen_precision"] == pytest.approx(0.7 * 12 / 14)
    assert ours["unseen_recall"] == pytest.approx(0.7)
    assert ours["error_db"] == pytest.approx(-30 + (0.5 + 6) / 2)
    assert found["5 stations", "ignore"]["good_if_certified"] is None


def test_figures_need_nothing_but_rows():
    rows = made_rows()
    drawn = figures(rows)
    assert set(drawn) == {
        "images_five_stations", "images_one_station", "errors_five_stations",
        "errors_one_station", "convergence_five_stations", "convergence_one_station", "unseen",
    }  # fmt: skip
    assert values_of(rows, "users") == [2, 4, 8, 12, 16]
    line = drawn["errors_five_stations"].axes[0].lines[METHODS.index("genie")]
    assert np.allclose(line.get_ydata(), -30)


def test_a_world_is_what_its_setting_says():
    world = make_world({"seed": 3, "stations": 5, "users": 7, "scatterers": 21})
    assert world.snapshots.received.shape == (5, 16, 7, 1)
    assert np.count_nonzero(world.truth.coefficient) == 21
    again = make_world({"seed": 3, "stations": 5, "users": 7, "scatterers": 21})
    assert np.array_equal(again.snapshots.received, world.snapshots.received)
    low, high = np.asarray(world.grid.origin), np.asarray(world.grid.upper)
    station = world.snapshots.antenna_position.mean(1)
    outside = np.maximum(np.maximum(low - station, station - high), 0)[:, :2].max(1)
    assert np.all((outside > 2) & (outside < 6.1))
    one = make_world({"seed": 3, "stations": 1, "tones": 8, "noise_told": False})
    assert one.snapshots.received.shape == (1, 80, 12, 8)
    assert one.snapshots.noise_variance is None


@pytest.mark.slow
def test_the_quick_study_runs_through_the_command_and_goes_on(tmp_path, capsys):
    out = tmp_path / "study"
    assert main(["reproduce", "occlusion-imaging", "--quick", "--json", "--out", str(out)]) == 0
    table = json.loads(capsys.readouterr().out)
    ours = [row for row in table if row["method"] == "visibility"]
    assert len(ours) == 2
    assert all(row["above_genie_db"] < 1 for row in ours)
    assert (out / "images_one_station.png").exists()
    active = (out / "rows.jsonl").read_text()
    assert main(["reproduce", "occlusion-imaging", "--quick", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == table
    assert (out / "rows.jsonl").read_text() == active


def test_refusals_of_the_command(tmp_path, capsys):
    assert main(["reproduce", "occlusion-imaging", "--out", str(tmp_path), "--seeds", "0"]) != 0
    assert "--seeds must be at least 1; got 0" in capsys.readouterr().err


def test_progress_moves_within_a_world(monkeypatch):
    def measured(setting, tell):
        tell(0.25, "first solver")
        return []

    monkeypatch.setattr(study, "measure", measured)
    seen = []
    run(OcclusionImaging(seeds=1, quick=True), None, lambda *words: seen.append(words))
    inside = [(done, total) for done, total, stage in seen if stage == "first solver"]
    assert inside == [(k + 0.25, seen[0][1]) for k in range(seen[0][1])]
    assert len(inside) == 2
