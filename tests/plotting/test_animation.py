"""A walk as a film: what a frame holds, one page that asks nothing of the network, a GIF or MP4."""

import json
import re
import shutil

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.plotting.animation import Film, write_film
from echoscape.reports import write_observations
from echoscape.studies.isac_channel.world import observe_route, sample_route


@pytest.mark.slow
def test_a_walk_becomes_a_page_and_a_film(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)  # a GIF, without ffmpeg
    monkeypatch.setattr("echoscape.plotting.animation.FRAMES", 12)
    route, mesh = sample_route(6.0)
    seen = observe_route(route, np.random.default_rng(0))
    write_observations(seen, tmp_path / "seen.parquet")
    np.savez(tmp_path / "mesh.npz", vertices=mesh.vertex, faces=mesh.face)
    station = ",".join(str(x) for x in route.station)
    arguments = ["track", str(tmp_path / "seen.parquet"), "--station", station, "--mesh",
                 str(tmp_path / "mesh.npz"), "--out", str(tmp_path / "walk"), "--animate",
                 "--quiet", "--json"]  # fmt: skip
    assert main(arguments) == 0
    capsys.readouterr()
    page = (tmp_path / "walk/route.html").read_text()
    assert not re.search(r"(src|href)=|https?://|import |fetch\(", page)
    film = json.loads(re.search(r"const film = (\{.*\}), colour", page)[1])
    assert len(film["frames"]) == 12
    last = film["frames"][-1]
    assert np.hypot(*(np.array(last["user"]) - route.position[-1, :2])) < 2
    assert last["ellipse"][0] >= last["ellipse"][1] > 0
    delays = 1e9 * np.sort(seen.estimates.delay[-1][seen.estimates.valid[-1]])
    assert np.allclose(np.sort([d for d, _ in last["profile"]]), delays, atol=0.01)
    assert len(film["walls"]) > 10
    assert any(frame["bounce"] for frame in film["frames"])
    assert (tmp_path / "walk/route.gif").read_bytes()[:3] == b"GIF"
    monkeypatch.undo()
    if shutil.which("ffmpeg"):
        assert write_film(Film(**film), tmp_path).read_bytes()[4:8] == b"ftyp"
