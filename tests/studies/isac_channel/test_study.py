"""The study of channels over time, on half a minute of the sample city."""

import json

import numpy as np
import pytest

from echoscape.channel_model.urban_micro import spread_table as table
from echoscape.cli import main
from echoscape.studies.isac_channel.stochastic import draw_spreads
from echoscape.studies.isac_channel.world import observe_route, read_route, sample_route


@pytest.mark.parametrize("sight", [False, True])
def test_the_tables_obey_what_the_standard_says_of_them(sight):
    low, high = table(2.0, sight, 80.0), table(28.0, sight, 80.0)
    for name in ("delay", "arrival_azimuth", "arrival_zenith", "departure_azimuth"):
        assert high[name].mean < low[name].mean  # spreads shrink with frequency in all these rows
        assert high[name].std > 0
    assert table(28.0, sight, 800.0)["departure_zenith"].mean == (-0.21 if sight else -0.5)
    shorter = table(28.0, True, 80.0), table(28.0, False, 80.0)
    assert shorter[0]["delay"].mean < shorter[1]["delay"].mean


def test_drawn_spreads_have_the_median_and_keep_it_for_ten_metres():
    rng = np.random.default_rng(0)
    place = np.stack([np.arange(0, 60000, 2.0), *np.zeros((2, 30000))], axis=1)
    drawn = draw_spreads("delay", place, np.array([0, 0, 10.0]), np.zeros(30000, bool), 28.0, rng)
    row = table(28.0, False, 1000.0)["delay"]
    level = np.log10(drawn)
    # 30000 steps of 2 m hold 6000 independent looks
    assert level.mean() == pytest.approx(row.mean, abs=4 * row.std / np.sqrt(6000))
    same = np.corrcoef(level[:-5], level[5:])[0, 1]
    assert same == pytest.approx(np.exp(-1), abs=0.06)


@pytest.mark.slow
def test_the_study_runs_and_ours_is_closest(tmp_path, capsys):
    code = main(
        ["reproduce", "isac-channel", "--out", str(tmp_path / "study"), "--seconds", "30", "--json"]
    )
    assert code == 0
    assert json.loads(capsys.readouterr().out)["user error [m]"][0] < 1.5
    rows = json.loads((tmp_path / "study/rows.json").read_text())
    assert {row["window"] for row in rows} == {-1, 0, 1}  # the named windows lie beyond this walk
    pooled = {
        (row["method"], row["spread"]): row["relative_rmse"] for row in rows if row["window"] == -1
    }
    for spread in ("delay", "departure_zenith", "arrival_azimuth", "arrival_zenith"):
        ours = pooled["anchors and user", spread]
        assert ours < pooled["copy", spread]
        assert ours < pooled["TR 38.901", spread]
    assert (tmp_path / "study/distributions.png").exists()
    sections = json.loads((tmp_path / "study/sections.json").read_text())
    assert len(sections) == 8
    assert max(abs(row["mean"] - row["promised_mean"]) for row in sections) < 0.5
    assert (tmp_path / "study/sections.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_ray_traced_route_reads_as_it_was_written(shared):
    route = read_route(shared / "data/rt_route/route_paths.npz")
    assert len(route.time) == 3951
    assert (route.power > 0).sum() == 57425
    seen = observe_route(route, np.random.default_rng(0), missed=0.1, false=0.05)
    share = seen.estimates.valid.sum() / 57425
    assert share == pytest.approx(0.95, abs=0.01)
    built, _ = sample_route(2.0)
    assert (built.power > 0).any(axis=1).all()
