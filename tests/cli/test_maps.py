"""Maps, echoes, fixes and bounds by command: end to end on part of the sample, and refusals."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from echoscape.channel_map import VirtualAnchorMap, load_manifest, load_maps
from echoscape.cli import main, map_show
from echoscape.reports import read_echoes, read_fixes, write_reports
from echoscape.sample import load_sample
from tests.worlds.direct_paths import FAULTS, make_reports
from tests.worlds.station_faults import faulty_reports

ERRORS = ("--angle-std", "0.02", "--delay-std", "2e-9")


def run(capsys, *words):
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with reports, targets, a map by each cheap model, and echoes."""
    folder = tmp_path_factory.mktemp("city")
    sample = load_sample()
    reports = sample.reports
    write_reports(reports[:250], folder / "r.csv")
    several = sample.targets.estimates.valid.sum(axis=1) >= 4
    chosen = np.isin(np.arange(len(several)), np.flatnonzero(several)[:8])
    write_reports(sample.targets[chosen], folder / "t.parquet")
    words = ["map", "fit", folder / "r.csv", "--quiet"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([*map(str, words[:-1]), "--out", str(folder / "anchors")]) == 0
    (folder / "anchors.txt").write_text(said.getvalue())
    nearest = [
        *map(str, words),
        "--model",
        "nearest-reports",
        "--set",
        "slots=9",
        "--score",
        "--out",
        str(folder / "near"),
    ]
    assert main(nearest) == 0
    echoes = ["echoes", "make", str(folder / "t.parquet"), "--out", str(folder / "e.parquet")]
    assert main([*echoes, *ERRORS]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path):
    """The same in a folder of one's own, which nothing else is in."""
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.slow
def test_a_map_of_a_faulty_station_keeps_what_was_found(tmp_path, capsys):
    write_reports(faulty_reports(1, users=60, sight=0.5), tmp_path / "r.csv")
    words = ("map", "fit", tmp_path / "r.csv", "--out", tmp_path / "m", "--quiet", "--unknown")
    code, printed, error = run(capsys, *words, "station-clock,station-heading")
    assert code == 0
    assert "yaw +3." in printed
    assert "turned" not in error
    (kept,) = load_manifest(tmp_path / "m").calibration.values()
    assert abs(kept["clock"] - 20e-9) < 1e-9
    assert abs(kept["yaw"] - np.radians(3)) < 4 * kept["yaw_std"]
    fitted = next(iter(load_maps(tmp_path / "m").values()))
    direct = np.hypot(*np.asarray(fitted.static_points().offset).T) + np.abs(
        np.asarray(fitted.static_points().rotation)
    )
    assert direct.min() < 0.5  # the line of sight is the identity again
    code, _, error = run(capsys, *words, "station-mood")
    assert code != 0
    assert "station-mood" in error


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_map_says_what_it_was_made_of(made):
    manifest = load_manifest(made / "near")
    assert manifest.settings["model"] == "nearest-reports"
    assert manifest.settings["slots"] == 9
    assert manifest.seed == 0
    assert len(manifest.data_sha256 or "") == 64
    assert 0.2 < manifest.scores["bs"]["explained"] <= 1.0
    assert load_manifest(made / "anchors").scores == {}
    assert list(load_maps(made / "anchors")) == ["bs"]


def test_an_old_name_of_a_model_works_and_says_so(capsys, here):
    words = ("map", "fit", here / "r.csv", "--model", "nearest", "--quiet", "--out", here / "old")
    code, _, told = run(capsys, *words)
    assert code == 0
    assert "model 'nearest' is deprecated and will be removed in the next version" in told
    assert load_manifest(here / "old").settings["model"] == "nearest-reports"


def test_models_lists_every_setting_of_every_model(capsys):
    code, out, _ = run(capsys, "map", "models", "--json")
    assert code == 0
    listed = json.loads(out)
    assert listed["scatterers"]["position_jitter"]["default"] == 0.5
    assert "virtual-anchor-network" in listed
    assert all(field["meaning"] for model in listed.values() for field in model.values())
    code, out, _ = run(capsys, "map", "models")
    assert code == 0
    assert "position_jitter" in out


def test_evaluate_prints_a_table_or_json(capsys, made):
    code, out, _ = run(capsys, "map", "evaluate", made / "near", made / "t.parquet")
    assert code == 0
    assert "explained" in out
    assert "ns rms" in out
    code, out, _ = run(capsys, "map", "evaluate", made / "near", made / "t.parquet", "--json")
    found = json.loads(out)["bs"]
    assert found["reports"] == 8
    assert found["paths"] >= 32


def test_fixed_errors_and_a_link_budget_make_different_echoes(capsys, here):
    fixed = read_echoes(here / "e.parquet")
    assert fixed.estimates.delay_std[fixed.estimates.valid] == pytest.approx(2e-9, rel=1e-15)
    words = ("echoes", "make", here / "t.parquet", "--out", here / "b.csv", "--json")
    code, out, _ = run(capsys, *words)
    told = json.loads(out)
    assert code == 0
    assert told["targets"] == 8
    assert 0 <= told["echoes_detectable"] < told["echoes_possible"]
    (here / "link.toml").write_text("transmit_power_dbm = 90.0\n")
    code, out, _ = run(capsys, *words, "--link-budget", here / "link.toml")
    assert json.loads(out)["echoes_detectable"] > told["echoes_detectable"]
    again = here / "again.parquet"
    assert run(capsys, *words[:3], "--out", again, *ERRORS, "--seed", "0")[0] == 0
    other = read_echoes(again).estimates
    np.testing.assert_array_equal(other.delay, fixed.estimates.delay)
    assert (
        run(capsys, *words[:3], "--out", again, *ERRORS, "--seed", "1", "--missed", "0.3")[0] == 0
    )
    assert read_echoes(again).estimates.valid.sum() < fixed.estimates.valid.sum()


@pytest.mark.slow
def test_targets_are_located_and_drawn(capsys, here):
    out = here / "out/fixes.parquet"
    words = ("locate", "--map", here / "anchors", here / "e.parquet", "--out", out, "--figure")
    code, printed, err = run(capsys, *words, "--quiet")
    assert (code, err) == (0, "")
    assert "located" in printed
    assert "claimed error" in printed
    fixes = read_fixes(out)
    best = fixes["rank"] == 0
    truth = load_truth(here)
    assert fixes["target"][best].tolist() == sorted(truth)
    error = [
        np.hypot(x - truth[t][0], y - truth[t][1])
        for t, x, y in zip(*(fixes[name][best] for name in ("target", "x", "y")), strict=True)
    ]
    assert np.median(error) < 3.0  # 250 reports: some are ambiguous, most are not
    assert set(fixes["method"]) == {"virtual-anchors"}
    for suffix in (".png", ".pdf"):
        assert out.with_suffix(suffix).stat().st_size > 5000


def load_truth(folder):
    table = parquet.read_table(folder / "t.parquet").to_pydict()
    return {t: (x, y) for t, x, y in zip(table["report"], table["x"], table["y"], strict=True)}


@pytest.mark.slow
def test_a_bound_is_written_for_targets_and_for_a_grid(capsys, here):
    words = ("bound", "--map", here / "anchors", *ERRORS, "--json", "--out")
    code, out, _ = run(capsys, *words, here / "b.parquet", "--targets", here / "t.parquet")
    told = json.loads(out)
    assert code == 0
    assert told["places"] == 8
    table = parquet.read_table(here / "b.parquet").to_pydict()
    truth = load_truth(here)
    assert sorted(table["place"]) == sorted(truth)
    for place, x, status, value in zip(*(table[n] for n in ("place", "x", "status", "bound"))):
        assert x == truth[place][0]
        assert (value is None) == (status == "unobserved")
    code, out, _ = run(capsys, *words, here / "g.csv", "--step", "40", "--figure")
    assert code == 0
    assert json.loads(out)["places"] > 8
    assert (here / "g.png").stat().st_size > 5000


_MAKE = ("echoes", "make", "t.parquet", "--out", "f.csv")
REFUSED = [
    (("locate", "--map", "near", "e.parquet", "--out", "f.xlsx"), "must end in .parquet or .csv"),
    (("locate", "--map", "absent", "e.parquet", "--out", "f.csv"), "is no map folder"),
    (
        ("locate", "--map", "near", "e.parquet", "--out", "f.csv", "--height-range", "3,1"),
        "--height-range needs two rising numbers such as 0.5,2, in m; got '3,1'",
    ),
    (
        ("locate", "--map", "near", "e.parquet", "--out", "f.csv", "--height", "1",
         "--height-range", "1,2"),
        "give either --height or --height-range, not both",
    ),
    (
        (*_MAKE, "--angle-std", "5", "--delay-std", "1e-9"),
        "--angle-std must be at most 3.142 rad; got 5; if these are degrees, multiply by pi/180",
    ),
    (
        (*_MAKE, "--angle-std", "0.1", "--delay-std", "5"),
        "--delay-std must be at most 1e-06 s; got 5; if these are nanoseconds, multiply by 1e-9",
    ),
    (
        (*_MAKE, "--angle-std", "-1", "--delay-std", "1e-9"),
        "--angle-std must be finite and above zero, in rad; got -1",
    ),
    ((*_MAKE, "--angle-std", "0.1"), "together"),
    (
        (*_MAKE, "--link-budget", "l.toml", *ERRORS),
        "give either --link-budget or --angle-std and --delay-std, not both",
    ),
    (
        ("bound", "--map", "near", *ERRORS, "--out", "f.csv", "--targets", "t.parquet",
         "--step", "3"),
        "give either --targets or --step, not both",
    ),
    (("bound", "--map", "near", *ERRORS, "--out", "f.csv", "--step", "-3"), "above zero, in m"),
    (("bound", "--map", "near", *ERRORS, "--out", "f.csv", "--step", "1e-4"), "a larger step"),
    (("map", "fit", "r.csv", "--out", "e.parquet"), "is a file; give the name of a folder"),
    (("map", "fit", "r.csv", "--out", "."), "is no map folder; give another folder"),
    (("map", "fit", "r.csv", "--out", "m", "--model", "magic"), "there is no model 'magic'"),
    (("map", "fit", "r.csv", "--out", "m", "--set", "slot=3"), "did you mean 'slots'"),
    (("map", "fit", "r.csv", "--out", "m", "--set", "slots"), "--set takes name=value"),
    (("map", "fit", "r.csv", "--out", "m", "--set", "slots=many"), "'slots'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=lambda item: " ".join(item)[:40])
def test_what_cannot_be_is_refused_and_nothing_written(capsys, here, monkeypatch, words, sentence):
    monkeypatch.chdir(here)
    before = files(here)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err
    assert files(here) == before


def test_echoes_of_an_unknown_station_name_the_known_ones(capsys, here):
    table = parquet.read_table(here / "e.parquet")
    at = table.column_names.index("station")
    parquet.write_table(
        table.set_column(at, "station", pa.array(["tower"] * len(table))), here / "e2.parquet"
    )
    words = ("locate", "--map", here / "near", here / "e2.parquet", "--out", here / "f.csv")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "'tower'" in err
    assert "bs" in err
    assert not (here / "f.csv").exists()


def test_a_map_of_another_version_is_refused(capsys, here):
    manifest = here / "near/manifest.json"
    content = json.loads(manifest.read_text()) | {"format_version": 99}
    manifest.write_text(json.dumps(content))
    words = ("locate", "--map", here / "near", here / "e.parquet", "--out", here / "f.csv")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "format version 99" in err


@pytest.mark.slow
def test_errors_stated_by_option_hold_where_the_file_has_none(capsys, here):
    table = parquet.read_table(here / "e.parquet")
    bare = table.drop_columns([name for name in table.column_names if name.endswith("_std")])
    parquet.write_table(bare, here / "bare.parquet")
    words = ("locate", "--map", here / "near", here / "bare.parquet", "--out", here / "f.csv")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "delay_std" in err or "azimuth_std" in err
    assert not (here / "f.csv").exists()
    code, out, err = run(capsys, *words, *ERRORS, "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["targets"] == 8


def test_relative_delays_are_refused_unless_stated(capsys, tmp_path):
    reports = FAULTS["relative"][0](make_reports(3, 20, 1.0), np.random.default_rng(1))
    write_reports(reports, tmp_path / "r.parquet")
    words = ["map", "fit", str(tmp_path / "r.parquet"), "--out", str(tmp_path / "map")]
    assert main(words) == 2
    assert "state --delays excess" in capsys.readouterr().err
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("map", "fit", "r.csv", "--model", "nearest-reports", "--out", "m"),
        ("reports", "export", "r.csv", "--layout", "sionna", "--carrier", "28e9", "--out", "s.npz"),
        ("reports", "check", "r.csv"),
    ],
)
def test_every_command_that_reads_wrong_reports_says_so_once(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    write_reports(FAULTS["swapped"][0](make_reports(3, 20, 1.0), None), "r.csv")
    code, _, err = run(capsys, *words)
    assert code == 0
    assert err.count("warning: ") == 1
    assert "exchanged" in err


def test_reports_without_any_path_give_no_map(capsys, here):
    reports = load_sample().reports
    silent = ~np.any(np.asarray(reports.estimates.valid), axis=1)
    assert silent.any()
    write_reports(reports[silent], here / "silent.parquet")
    code, _, err = run(capsys, "map", "fit", here / "silent.parquet", "--out", here / "m")
    assert code == 2
    assert "hold no path at all" in err
    assert not (here / "m").exists()


def test_what_maps_know_is_shown_and_drawn(here, capsys):
    code, printed, error = run(capsys, "map", "show", here / "anchors", "--figure", here / "a.png")
    assert code == 0, error
    assert "virtual anchors" in printed
    assert "of a report" in printed
    assert "held-out" not in printed  # it was fitted without --score
    assert "a.png" in printed
    code, printed, _ = run(capsys, "map", "show", here / "anchors", "--json")
    assert code == 0
    (found,), (fitted,) = json.loads(printed).values(), load_maps(here / "anchors").values()
    assert isinstance(fitted, VirtualAnchorMap)
    assert fitted.state is not None
    reports = load_sample().reports[:250]
    trusted = np.isin(reports.position[:, 0], np.asarray(fitted.report_position)[:, 0])
    assert 240 < trusted.sum() < 250
    paths = reports.estimates.valid[trusted].sum()  # each is of a point, a few of two, or of none
    assert found["explained"] == pytest.approx(1 - len(fitted.state.pool[0]) / paths, abs=2e-3)
    assert 0.5 < found["explained"] < 1
    points = sum(found["points"].values())
    assert points == fitted.state.confirmed
    assert points + found["single"] == len(np.asarray(fitted.static_points().kind))
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    code, printed, _ = run(capsys, "map", "show", here / "near")
    assert code == 0
    assert re.search(r"held-out fifth .* of the paths explained, when the map was fitted", printed)
    code, printed, _ = run(capsys, "map", "show", here / "near", "--json")
    assert code == 0
    (found,) = json.loads(printed).values()
    assert found["points"] is None
    assert found["reports"] == 250
    assert found["covered_area"] > 1e4
    assert 0.2 < found["held_out"]["explained"] <= 1.0
    assert found["calibration"] is None
    code, _, error = run(capsys, "map", "show", here / "near", "--figure", here / "a.txt")
    assert code == 2
    assert "must end in .png" in error


def test_a_fit_says_what_it_found_and_where_more_is_said(made):
    said = (made / "anchors.txt").read_text()
    assert re.search(r"bs: \d+ static points found, which explain \d\d\.\d% of the paths", said)
    assert said.endswith("map evaluate, or map fit --score\n")


def test_pictures_are_named_and_drawn_whatever_stations_are_called(tmp_path, capsys):
    """A name could be a path, end a figure by a formula, or move the text of a page about."""
    reports = make_reports(3, 8, 1.0)
    names = ("../$\\frac$<b>\x1b[2J\u202e\x9b", "..-$\\frac$<b>\x1b[2J\u202e\x9b")
    reports = dataclasses.replace(
        reports,
        station=names,
        station_position=np.repeat(reports.station_position[:1], 2, axis=0),
        station_index=np.arange(len(reports.report)) % 2,
    )
    write_reports(reports, tmp_path / "r.csv")
    here = tmp_path / "here"
    here.mkdir()
    words = ("map", "fit", tmp_path / "r.csv", "--model", "nearest-reports", "--out", here / "m")
    assert run(capsys, *words)[0] == 0
    code, printed, error = run(capsys, "map", "show", here / "m", "--figure", here / "a.svg")
    assert code == 0, error
    assert not set(printed + error) & set("\x1b\u202e\x9b")
    pictures = sorted(path.name for path in here.glob("*.svg"))
    assert len(pictures) == 2
    alike = map_show._pictures(Path("a.png"), ["a/b", "a:b"])
    assert [path.name for path in alike] == ["a-1.png", "a-2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "r.csv"]
    for name in pictures:
        text = (here / name).read_text(encoding="utf-8")
        assert not set(text) & set("\x1b\u202e\x9b")
        assert "<b>" not in text
        assert "station" in text
