"""A place that cannot be written to is refused before any input is read or anything computed."""

import pytest

from echoscape.cli import main

GRID = ["--origin", "0,0,0", "--shape", "2,2,2", "--edge", "1"]
COMMANDS = [
    ["image", "no.npz", *GRID, "--out", "{}/i.npz"],
    ["image", "no.npz", *GRID, "--out", "i.npz", "--figure", "{}/i.png"],
    ["image", "no.npz", *GRID, "--out", "i.npz", "--slices", "{}/i.png"],
    ["image", "no.npz", *GRID, "--out", "i.npz", "--mesh", "{}/i.ply"],
    ["pilots", "make", "no.toml", "--out", "{}/p.npz"],
    ["pilots", "make", "no.toml", "--out", "p.npz", "--truth", "{}/t.npz"],
    ["coverage", "no.toml", "--out", "{}/c.csv"],
    ["coverage", "no.toml", "--figure", "{}/c.png"],
    ["echoes", "sample", "no.toml", "--targets", "no.csv", "--out", "{}/s.npz"],
    ["estimate", "no.npz", "--out", "{}/e.parquet"],
    ["locate", "no.parquet", "--map", "no", "--out", "{}/f.parquet"],
    ["track", "no.parquet", "--station", "0,0,9", "--out", "{}/t"],
    ["follow", "no.parquet", "--map", "no", "--out", "{}/w.parquet"],
    ["bench", "run", "--tasks", "no", "--out", "{}/r.jsonl"],
    ["reproduce", "occlusion-imaging", "--quick", "--out", "{}/o"],
    ["reproduce", "isac-forecast", "--out", "{}/o"],
    ["reproduce", "isac-targets", "--out", "{}/o"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:1] + words[-2:]))
def test_a_place_that_cannot_be_written_is_refused_first(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    words = [word.replace("{}", "file") for word in words]
    assert main([*words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"{words[-1]} cannot be written (a folder above it is a file)" in " ".join(said.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
