"""`echoscape coverage`: summary, table and figure of a site, and refusals that leave no file."""

import json

import pyarrow.parquet as parquet
import pytest

from echoscape.cli import main
from tests.imaging.test_planning import TEXT


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(TEXT)
    return str(path)


def test_a_site_is_summed_up_tabulated_and_drawn(site, tmp_path, capsys):
    table, figure = tmp_path / "coverage.parquet", tmp_path / "coverage.png"
    words = ["--places", "8", "--out", str(table), "--figure", str(figure), "--json"]
    assert main(["coverage", site, *words]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = parquet.read_table(table)
    assert rows.num_rows == said["voxels"] == 30
    assert said["occupied"] == 2
    assert set(said["unseen_by_station"]) == {"roof", "lamp"}
    assert said["unseen"] <= min(said["unseen_by_station"].values())
    assert abs(sum(rows["unseen"].to_pylist()) - said["unseen"]) < 1e-9
    assert figure.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--figure", "coverage.gif"], "must end in .png, .pdf or .svg"),
        (["--height", "1"], "--height says which level --figure draws; give both"),
        (["--figure", "a.png", "--height", "9"], "--height must lie in the site's bounds"),
        (["--share", "1.5"], "share of occupied voxels must lie between 0 and 1"),
    ],
)
def test_bad_input_is_one_sentence(site, tmp_path, capsys, words, sentence, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["coverage", site, "--places", "4", *words]) != 0
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["site.toml"]
