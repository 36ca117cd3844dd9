"""What is exported comes back by import, to the format's precision; what cannot is refused."""

import dataclasses
import json

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.reports import import_reports, write_reports
from echoscape.reports.exporting.exporter import export_reports
from tests.reports.importing.test_layouts import compare
from tests.worlds.direct_paths import make_reports

CARRIER = 28.3e9


@pytest.fixture(scope="module")
def scene():
    """Two stations, users in and out of sight, one in outage at both."""
    reports = make_reports(17, 9, 0.6, 3, 2)
    valid = reports.estimates.valid & (reports.report != 4)[:, None]
    paths = dataclasses.replace(reports.estimates, valid=valid)
    return dataclasses.replace(reports, estimates=paths)


@pytest.mark.parametrize(("layout", "name"), [("deepmimo", "city"), ("sionna", "paths.npz")])
def test_what_is_exported_comes_back(scene, tmp_path, layout, name):
    lost = export_reports(scene, layout, tmp_path / name, CARRIER)
    found = import_reports(tmp_path / name)
    assert found.layout == layout
    compare(found.reports, scene, angle=1e-12, length=1e-9)
    assert (found.reports.estimates.valid.sum(1) == 0).sum() == 2
    assert found.findings() == ()
    assert any("times" in each for each in lost)
    np.testing.assert_allclose(found.reports.station_position, scene.station_position)


def test_instants_of_saved_coefficients_differ_in_phase_only(scene, tmp_path):
    export_reports(scene, "sionna", tmp_path / "one.npz", CARRIER)
    with np.load(tmp_path / "one.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "checksum"}
    arrays["a"] = np.concatenate([arrays["a"], arrays["a"] * np.exp(0.3j)], axis=-1)
    np.savez(tmp_path / "two.npz", **arrays)
    found = import_reports(tmp_path / "two.npz").reports
    compare(found, scene, angle=1e-12, length=1e-9)


@pytest.mark.parametrize(("layout", "name"), [("deepmimo", "city"), ("sionna", "paths.npz")])
def test_one_station_comes_back_alone(scene, tmp_path, layout, name):
    second = scene.station[1]
    partly = scene[(scene.station_index == 1) | (scene.report < 5)]
    with pytest.raises(InputError, match=r"report 5 has no row of station .*--station NAME"):
        export_reports(partly, layout, tmp_path / name, CARRIER)
    export_reports(partly, layout, tmp_path / name, CARRIER, second)
    alone = import_reports(tmp_path / name).reports
    assert len(alone.station) == 1
    np.testing.assert_allclose(alone.station_position, scene.station_position[1:])
    rows = scene.station_index == 1
    np.testing.assert_allclose(alone.position, scene.position[rows])
    assert (alone.estimates.valid.sum(1) == scene.estimates.valid[rows].sum(1)).all()


def test_a_scenario_says_which_paths_are_direct_and_turns_their_phase(scene, tmp_path):
    export_reports(scene, "deepmimo", tmp_path / "city", CARRIER)
    folder = tmp_path / "city"
    inter, phase, delay = (
        np.load(folder / f"{key}_t001_tx001_r000.npz")[key] for key in ("inter", "phase", "delay")
    )
    rows = np.flatnonzero(scene.station_index == 1)
    away = scene.position[rows] - scene.station_position[1]
    seen = np.abs(delay * 299792458.0 - np.linalg.norm(away, axis=1)[:, None]) < 1e-6
    assert seen.any()
    assert ((inter == 0) == seen).all()
    there = np.isfinite(delay)
    assert np.isnan(inter[~seen]).all()
    assert np.isnan(phase[~there]).all()
    turned = np.exp(1j * np.radians(phase[there]))
    np.testing.assert_allclose(turned, np.exp(-2j * np.pi * CARRIER * delay[there]), atol=1e-6)
    stated = json.loads((folder / "params.json").read_text())
    assert stated["rt_params"]["frequency"] == CARRIER
    assert stated["txrx_sets"]["txrx_set_0"]["num_active_points"] == 8


def test_arrays_of_sionna_have_the_shapes_of_cir(scene, tmp_path):
    export_reports(scene, "sionna", tmp_path / "paths.npz", CARRIER)
    with np.load(tmp_path / "paths.npz", allow_pickle=False) as stored:
        assert stored["a"].shape == (9, 1, 2, 1, 4, 1)
        assert stored["tau"].shape == (9, 2, 4)
        there = stored["tau"] >= 0
        power = np.abs(stored["a"][:, 0, :, 0, :, 0]) ** 2
        assert (power[~there] == 0).all()
        turned = np.exp(-2j * np.pi * CARRIER * stored["tau"][there])
        gain = stored["a"][:, 0, :, 0, :, 0][there]
        np.testing.assert_allclose(gain / np.abs(gain), turned, atol=1e-6)
        assert there.sum() == scene.estimates.valid.sum()


def test_what_does_not_fit_is_refused(scene, tmp_path):
    with pytest.raises(InputError, match="there is no layout 'deepmino'; did you mean 'deepmimo'"):
        export_reports(scene, "deepmino", tmp_path / "x", CARRIER)
    with pytest.raises(InputError, match="carrier must be a frequency in Hz, such as 28e9; got 28"):
        export_reports(scene, "sionna", tmp_path / "x.npz", 28.0)
    with pytest.raises(InputError, match="there is no station 'roof'"):
        export_reports(scene, "sionna", tmp_path / "x.npz", CARRIER, "roof")
    paths = dataclasses.replace(
        scene.estimates, arrival_azimuth_std=np.full(scene.estimates.valid.shape, np.inf)
    )
    blind = dataclasses.replace(scene, estimates=paths)
    with pytest.raises(InputError, match="needs the arrival azimuth of every path, which report 0"):
        export_reports(blind, "deepmimo", tmp_path / "x", CARRIER)
    assert not (tmp_path / "x").exists()


def test_the_command_says_what_is_lost(scene, tmp_path, capsys):
    write_reports(scene, tmp_path / "reports.parquet")
    words = ["reports", "export", str(tmp_path / "reports.parquet"), "--layout", "deepmimo"]
    words += ["--out", str(tmp_path / "city"), "--carrier", "28.3e9"]
    assert main(words) == 0
    assert "not in this layout: standard deviations and times" in capsys.readouterr().out
    compare(import_reports(tmp_path / "city").reports, scene, angle=1e-12, length=1e-9)
    assert main(words) == 0  # its own output is replaced
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    words[words.index(str(tmp_path / "city"))] = str(tmp_path / "other")
    assert main(words) == 2
