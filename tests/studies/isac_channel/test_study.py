"""The study of channels over time, on half a minute of the sample city."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model.urban_micro import spread_table as table
from echoscape.cli import main
from echoscape.studies.isac_channel import study
from echoscape.studies.isac_channel.between_looks import bounces_later, thin
from echoscape.studies.isac_channel.stochastic import draw_spreads
from echoscape.studies.isac_channel.study import METHODS, IsacChannel, cases_of
from echoscape.studies.isac_channel.world import Route, observe_route, read_route, sample_route
from echoscape.tracking.bounce_state import measure_bounces
from echoscape.tracking.bounce_tracks import BounceStates


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
def test_the_quick_study_runs_and_ours_is_closest(tmp_path, capsys):
    words = ["reproduce", "isac-channel", "--quick", "--withheld", "0,3", "--json", "--out"]
    assert main([*words, str(tmp_path / "study")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["user error [m]"][0] < 1.5
    assert said["windows beyond the walk, not drawn"] == "60 s, 180 s"
    rows = json.loads((tmp_path / "study/rows.json").read_text())
    assert {row["window"] for row in rows} == {-1, 0, 1, 2}
    pooled = {
        (row["method"], row["spread"], row["withheld"]): row["relative_rmse"]
        for row in rows
        if row["window"] == -1
    }
    assert {method for method, _, _ in pooled} == set(METHODS)
    for spread in ("delay", "departure_zenith", "arrival_azimuth", "arrival_zenith"):
        ours = pooled["anchors and user", spread, 0.0]
        assert ours < pooled["copy", spread, 0.0]
        assert ours < pooled["TR 38.901", spread, 0.0]
        assert ours < pooled["anchors and user", spread, 3.0]  # what is not seen is known less well
    assert {row["mean"] for row in rows if row["window"] == -1 and row["withheld"]}.isdisjoint(
        {row["mean"] for row in rows if row["window"] == -1 and not row["withheld"]}
    )  # compared where nothing is observed, and there alone
    for name in ("distributions", "distances", "tracks", "cases", "start", "sections"):
        assert (tmp_path / f"study/{name}.png").stat().st_size > 10_000
    assert not (tmp_path / "study/windows.png").exists()
    sections = json.loads((tmp_path / "study/sections.json").read_text())
    assert [row["type"] for row in sections] == ["human", "vehicle"]
    starts = json.loads((tmp_path / "study/start.json").read_text())
    assert {row["start"] for row in starts} == {"echoes", "mesh"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "spread"], "there is no part 'spread'; did you mean 'spreads'"),
        (["--parts", ","], "--parts needs the name of a part, such as spreads; got none"),
        (["--withheld", "20"], "withheld for less than a window of 20 s; got 20 s"),
        (["--seconds", "25", "--windows", "60"], "holds less than half of the window of 20 s at 6"),
        (["--echoes", "heard.npz"], "--echoes goes with --route, whose surroundings it holds"),
        (["--mesh", "walls.npz"], "--mesh goes with --route, whose surroundings it holds"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, message, tmp_path, capsys, monkeypatch):
    still, path = np.zeros((250, 3)), np.zeros((250, 1, 5))
    walk = Route(np.arange(250) / 10, still, still, np.zeros(3), path, np.zeros((250, 1)))
    monkeypatch.setattr(study, "read_world", lambda _: study.World(walk, None, None, None))
    assert main(["reproduce", "isac-channel", "--out", str(tmp_path / "no"), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "no").exists()


def test_cases_change_one_thing_at_a_time():
    cases = cases_of(IsacChannel(noise=(1.0, 3.0), rate=(10.0, 2.0), withheld=(0.0, 5.0)))
    assert [(c.noise, c.missed, c.rate, c.withheld) for c in cases] == [
        (1.0, 0.1, 10.0, 0.0), (3.0, 0.1, 10.0, 0.0), (1.0, 0.1, 2.0, 0.0), (1.0, 0.1, 10.0, 5.0),
    ]  # fmt: skip


def test_withheld_instants_are_left_out_and_point_to_the_last_seen():
    ones = np.ones((60, 3))
    path, power = np.ones((60, 2, 5)), np.ones((60, 2))
    walk = Route(np.arange(60) / 10, ones, ones, np.zeros(3), path, power)
    seen = observe_route(walk, np.random.default_rng(0), missed=0.0)
    hidden = (np.arange(60) % 30) >= 20
    kept, at = thin(seen, 5.0, hidden)
    assert np.allclose(kept.time, [*np.arange(0, 2.0, 0.2), *np.arange(3.0, 5.0, 0.2)])
    assert np.all(kept.time[at] <= walk.time + 1e-9)
    assert kept.time[at[29]] == pytest.approx(1.8)
    assert at[30] == 10


def test_bounces_go_straight_on_as_their_state_measures_them():
    rng = np.random.default_rng(1)
    state = rng.normal(size=(1, 3, 18)) * np.tile(np.repeat([40.0, 2.0], 3), 3)
    station = np.array([1.0, 2.0, 9.0])

    def measure(each):
        return np.asarray(
            measure_bounces(jnp.asarray(each), jnp.asarray(station), jnp.asarray(7.0))
        )

    before = np.array([[measure(each) for each in state[0]]])
    moved = state.copy()
    for place in (slice(0, 3), slice(6, 9), slice(12, 15)):
        moved[..., place] += 1.5 * state[..., place.start + 3 : place.stop + 3]
    after = np.array([measure(each) for each in moved[0]])
    states = BounceStates(state, before)
    found = bounces_later(states, np.zeros(2, int), np.array([0.0, 1.5]), station)
    assert np.array_equal(found[0], before[0])
    assert np.allclose(found[1], after, rtol=0, atol=1e-9)


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
