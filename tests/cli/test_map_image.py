"""A map that begins with an image, before and beside reports."""

import dataclasses

import numpy as np
import pytest

from echoscape.channel_map import load_maps
from echoscape.cli import main
from echoscape.imaging import ImageStatus, image, read_image, write_image
from echoscape.imaging.known import genie
from echoscape.reports import write_reports
from echoscape.scene.static_point_views import scatterer_position
from tests.worlds.point_maps import reports_of
from tests.worlds.voxel_scenes import GRID, scene

SITE = """
carrier_frequency = 28e9
bandwidth = 4e8
[bounds]
lower = [-9.0, -9.0, 0.0]
upper = [60.0, 60.0, 9.0]
[[station]]
name = "mast"
position = [-3.0, 2.5, 6.0]
array = { rows = 2, columns = 4, azimuth_deg = 20.0, tilt_deg = 0.0 }
[[scatterer]]
position = [50.0, 40.0, 3.0]
cross_section = 2.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image of six voxels, a site, and the map of the image alone."""
    out = tmp_path_factory.mktemp("image")
    snapshots, truth = scene(occupied=6, users=5, station_count=2)
    write_image(image(snapshots, GRID, solver=genie(truth)), out / "i.npz")
    (out / "site.toml").write_text(SITE)
    words = ["map", "fit", "--image", out / "i.npz", "--site", out / "site.toml", "--quiet",
             "--model", "scatterers", "--out", out / "map"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return out


def test_an_image_alone_is_a_map_of_its_voxels(folder):
    (found,) = load_maps(folder / "map").values()
    assert found.station == "mast"
    np.testing.assert_allclose(found.station_position, [-3.0, 2.5, 6.0])
    seen = read_image(folder / "i.npz")
    place = np.asarray(scatterer_position(found.static_points()))
    expected = seen.grid.centres()[seen.occupied().ravel()]
    assert len(expected) == 6
    np.testing.assert_allclose(np.sort(place, axis=0), np.sort(expected, axis=0), atol=1e-9)
    assert len(found.report_position) == seen.grid.shape[0] * seen.grid.shape[1]


def test_one_report_beside_an_image_keeps_what_it_shows(folder, tmp_path):
    (shown,) = load_maps(folder / "map").values()
    place = np.array([[2.0, 1.0, 1.5]])
    exact = reports_of(shown, place)
    one = np.ones_like(exact.estimates.length)
    paths = dataclasses.replace(
        exact.estimates, departure_azimuth_std=0.02 * one, departure_zenith_std=0.02 * one,
        length_std=0.15 * one,
    )  # fmt: skip
    reports = dataclasses.replace(exact, estimates=paths)
    write_reports(reports, tmp_path / "r.parquet")
    words = ["map", "fit", tmp_path / "r.parquet", "--model", "scatterers", "--quiet",
             "--image", folder / "i.npz", "--out", tmp_path / "map"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    (found,) = load_maps(tmp_path / "map").values()
    before, after = (np.asarray(scatterer_position(m.static_points())) for m in (shown, found))
    apart = np.linalg.norm(before[:, None] - after, axis=-1)
    assert apart.min(axis=1).max() < 0.9 * 3**0.5  # neighbours that one report cannot tell apart


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nearest-reports"], "map of nearest-reports cannot begin; add --model scat"),
        (["--model", "scatterers", "--walls", "map"], "either with --walls or with --image"),
        (["--model", "scatterers"], "give reports, or --site FILE"),
    ],
)
def test_what_an_image_cannot_begin_is_one_sentence(folder, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folder)
    assert main(["map", "fit", "--image", "i.npz", "--out", "other", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "other").exists()


def test_an_image_that_cannot_be_trusted_begins_a_map_with_a_warning(folder, tmp_path, capsys):
    words = ["map", "fit", "--site", folder / "site.toml", "--model", "scatterers", "--quiet",
             "--out", tmp_path / "map", "--image"]  # fmt: skip
    assert main([*map(str, words), str(folder / "i.npz")]) == 0
    assert "cannot be trusted" not in capsys.readouterr().err
    found = read_image(folder / "i.npz")
    certificate = dataclasses.replace(found.certificate, misfit=9.0)
    doubtful = dataclasses.replace(found, certificate=certificate, status=ImageStatus.MISFIT)
    write_image(doubtful, tmp_path / "doubtful.npz")
    assert main([*map(str, words), str(tmp_path / "doubtful.npz")]) == 0
    assert "doubtful.npz cannot be trusted (misfit)" in " ".join(capsys.readouterr().err.split())
