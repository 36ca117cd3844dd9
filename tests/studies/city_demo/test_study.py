"""The demo in small: every method, mode and table; a page that fetches nothing; one key."""

import html.parser
import json
import re

import numpy as np
import pytest
from pyarrow import parquet

from echoscape.channel_map import load_maps
from echoscape.cli import main
from echoscape.sample import load_sample
from echoscape.studies.city_demo import report as demo_report
from echoscape.studies.city_demo.figures import draw_figures, select
from echoscape.studies.city_demo.study import METHODS, MODES

pytestmark = pytest.mark.slow  # compiles the search for every kind of map


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--quick", "--quiet", "--seed", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def rows(folder):
    return demo_report.read_rows(folder / "rows")


def test_every_target_has_a_row_for_each_method_and_mode(rows):
    targets = rows["targets"]
    keys = set(zip(targets["target"].tolist(), targets["method"].tolist(), targets["mode"]))
    assert len(keys) == len(targets["target"]) == 16 * len(METHODS) * len(MODES)
    assert set(targets["seed"].tolist()) == {3}
    silent = targets["status"] == "no_echo"
    assert np.array_equal(silent, np.isnan(targets["error"]))
    assert np.array_equal(silent, targets["heard"] == 0)


def test_errors_are_those_of_the_places(rows):
    targets = rows["targets"]
    apart = np.hypot(targets["x"] - targets["true_x"], targets["y"] - targets["true_y"])
    np.testing.assert_allclose(targets["error"], apart, rtol=1e-12)


def test_scores_are_those_of_the_rows(rows):
    for mode in MODES:
        for method in METHODS:
            error = select(rows["targets"], mode=mode, method=method)["error"]
            score = select(rows["scores"], mode=mode, method=method)
            assert score["within_3"][0] == np.mean(error <= 3)
            assert score["lost"][0] == np.mean(np.isnan(error))


def test_a_learnt_map_sees_what_a_guess_does_not(rows):
    fixed = {"mode": "fixed errors"}
    anchors = select(rows["scores"], method="anchors", **fixed)
    direct = select(rows["scores"], method="shortest echo taken as direct", **fixed)
    assert anchors["median"][0] < 10  # 300 reports: 1 m was measured
    assert direct["median"][0] > 100
    beams = rows["beams"]
    found = {name: select(beams, method=name, tried=3)["found"][0] for name in beams["method"]}
    assert found["anchors"] > found["position only"]


def test_the_maps_can_be_loaded(folder):
    names = sorted(path.name for path in (folder / "maps").iterdir())
    assert names == ["anchors", "nearest-report", "network", "network-squared-error"]
    for name in names:
        assert list(load_maps(folder / "maps" / name)) == ["bs"]


def test_settings_travel_with_every_table(folder):
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["seed"] == 3
    for name in demo_report.TABLES:
        about = parquet.read_schema(folder / "rows" / f"{name}.parquet").metadata
        assert settings.items() <= json.loads(about[b"echoscape demo"]).items()


def test_every_figure_is_drawn_from_rows_alone(folder, rows):
    figures = draw_figures(rows, load_sample().scene)
    assert set(figures) == {"city", "story", "errors", "calibration", "beams"}
    for name in figures:
        for kind, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
            assert (folder / "figures" / f"{name}.{kind}").read_bytes().startswith(magic)


def test_the_page_is_whole_and_fetches_nothing(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    opened = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img"):
                opened.append(tag)
            for name, value in attrs:
                assert name not in ("href", "srcset")
                assert name != "src" or value.startswith("data:image/png;base64,")

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Parser().feed(text)
    assert opened == []
    assert "<script" not in text
    assert not re.search(r"url\(|@import|https?://", text)
    assert not re.search(r">-?(nan|inf)\b", text)
    for name in METHODS:
        assert name in text


def test_another_folder_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", "--quick", "--quiet", "--out", str(tmp_path)]) == 2
    assert "holds other files and no report.html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
