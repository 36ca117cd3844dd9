"""`echoscape locate` by every method: options are the method's fields, settings are saved."""

import dataclasses
import json

import jax
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from echoscape.channel_map import save_maps
from echoscape.cli import main
from echoscape.cli.locate import MethodOptions
from echoscape.localization import METHODS, PairedEchoes
from echoscape.localization.associated.table import read_paired_echoes
from echoscape.reports import read_fixes, write_echoes, write_reports
from echoscape.reports.echo_making import make_echoes
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.point_maps import reports_of, scatterer_map

MAP = scatterer_map()
PLACE = np.c_[np.random.default_rng(8).uniform(8.0, 92.0, (10, 2)), np.zeros(10)]


def run(capsys, *words):
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, " ".join(printed.err.split())


def paired_table(place):
    """Lay all pairs of the map's paths out as rows, in falling power."""
    prior = jax.vmap(MAP)(jax.numpy.asarray(place))
    rng, rows = np.random.default_rng(2), []
    for t in range(len(place)):
        order = np.argsort(-np.asarray(prior.power[t]))
        azimuth, zenith, delay, power = (
            np.asarray(leaf[t])[order]
            for leaf in (prior.departure_azimuth, prior.departure_zenith, prior.delay, prior.power)
        )
        rows += [
            (t + 3, "mast", azimuth[i] + 0.01 * rng.normal(), zenith[i],
             azimuth[j] + 0.01 * rng.normal(), zenith[j],
             delay[i] + delay[j] + 1e-9 * rng.normal(), power[i] * power[j], i, j)
            for i in range(5) for j in range(5)
        ]  # fmt: skip
    names = [
        "target",
        "station",
        "departure_azimuth",
        "departure_zenith",
        "arrival_azimuth",
        "arrival_zenith",
        "delay",
        "power",
        "departure_path",
        "arrival_path",
    ]
    return pa.table({name: list(column) for name, column in zip(names, zip(*rows))})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("locate")
    save_maps(MAP, where / "map")
    users = reports_of(MAP, PLACE)
    write_reports(users, where / "users.parquet")
    made = make_echoes(users, jax.random.key(3), angle_std=0.02, delay_std=2e-9).echoes
    write_echoes(made, where / "e.parquet")
    e = made.estimates
    late = dataclasses.replace(e, length=e.length + 2e-8 * SPEED_OF_LIGHT * e.valid)
    write_echoes(dataclasses.replace(made, estimates=late), where / "late.parquet")
    parquet.write_table(paired_table(PLACE), where / "paired.parquet")
    return where


def error(path, number):
    fixes = read_fixes(path)
    best = fixes["rank"] == 0
    assert fixes["target"][best].tolist() == list(number)
    return np.hypot(fixes["x"][best] - PLACE[:, 0], fixes["y"][best] - PLACE[:, 1])


def test_every_field_of_every_method_is_an_option():
    fields = {name for method in METHODS for name in method.model_fields}
    assert set(MethodOptions.model_fields) == fields


@pytest.mark.slow
def test_the_method_follows_from_the_file_and_its_settings_are_saved(folder, tmp_path, capsys):
    out = tmp_path / "f.parquet"
    words = ("locate", folder / "e.parquet", "--map", folder / "map", "--quiet")
    code, _, err = run(capsys, *words, "--out", out, "--detection", "0.95", "--no-use-power")
    assert (code, err) == (0, "")
    assert np.median(error(out, range(10))) < 0.5
    saved = json.loads((tmp_path / "f.json").read_text())
    assert saved["method"] == "unassociated"
    assert saved["settings"]["detection"] == 0.95
    assert saved["settings"]["use_power"] is False
    assert saved["learnt"]["detection"] == pytest.approx(0.95)
    assert saved["height"] is None


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "by-rank"])
def test_paths_in_the_file_are_used(folder, tmp_path, capsys, method):
    out = tmp_path / "f.csv"
    words = ["locate", folder / "paired.parquet", "--map", folder / "map", "--quiet", "--out", out]
    words += ["--angle-std", "0.01", "--delay-std", "1e-9", "--height", "0"]
    code, _, err = run(capsys, *words, *(["--method", method] if method else []))
    assert (code, err) == (0, "")
    assert json.loads((tmp_path / "f.json").read_text())["method"] == (method or "by-path")
    assert np.median(error(out, range(3, 13))) < 0.5


@pytest.mark.slow
def test_users_are_located_by_their_own_paths(folder, tmp_path, capsys):
    out = tmp_path / "f.csv"
    words = ["locate", folder / "users.parquet", "--map", folder / "map", "--out", out, "--quiet"]
    options = ["--method", "user-paths", "--cell", "0.5", "--length-std", "0.3"]
    code, _, err = run(capsys, *words, *options)
    assert (code, err) == (0, "")
    assert np.median(error(out, range(10))) < 0.5


def test_received_power_needs_readings_and_transmitters(tmp_path, capsys):
    rng = np.random.default_rng(0)
    place, mast = rng.uniform(0, 8, (150, 2)), np.array([[0.2, 0.4], [7.7, 0.9], [3.9, 7.6]])
    away = np.linalg.norm(place[:, None] - mast[None], axis=2)
    power = -40.0 - 20.0 * np.log10(away) + rng.normal(size=away.shape)
    known = {"x": place[:, 0], "y": place[:, 1]}
    levels = {f"rssi_{k}": power[:, k] for k in range(3)}
    csv.write_csv(pa.table(known | levels), tmp_path / "known.csv")
    csv.write_csv(pa.table({n: v[:20] for n, v in levels.items()}), tmp_path / "new.csv")
    where = {"id": [0, 1, 2], "x": mast[:, 0], "y": mast[:, 1], "z": [2.0] * 3}
    csv.write_csv(pa.table(where), tmp_path / "masts.csv")
    words = ["locate", tmp_path / "new.csv", "--method", "received-power", "--quiet"]
    words += ["--out", tmp_path / "f.csv"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "received power needs --readings, readings at known places, and --transmitters" in err
    words += ["--readings", tmp_path / "known.csv", "--transmitters", tmp_path / "masts.csv"]
    code, _, err = run(capsys, *words)
    assert (code, err) == (0, "")
    fixes = read_fixes(tmp_path / "f.csv")
    found = np.stack([fixes["x"], fixes["y"]], axis=1)
    assert np.median(np.linalg.norm(found - place[:20], axis=1)) < 1.5


@pytest.mark.slow
def test_a_clock_is_noticed_and_estimated_by_name(folder, tmp_path, capsys):
    words = ["locate", folder / "late.parquet", "--map", folder / "map", "--quiet", "--json"]
    code, _, err = run(capsys, *words, "--out", tmp_path / "f.csv")
    assert code == 0
    assert "a common clock bias of" in err
    assert "estimate it with --unknown clock" in err
    code, out, err = run(capsys, *words, "--out", tmp_path / "g.csv", "--unknown", "clock")
    assert (code, err) == (0, "")
    assert json.loads(out)["status"]["biased"] == 0
    found = read_fixes(tmp_path / "g.csv")["clock_bias"]
    np.testing.assert_allclose(found, 2e-8, atol=1e-9)
    assert np.median(error(tmp_path / "g.csv", range(10))) < 0.6


REFUSED = [
    (("--method", "direkt"), "Invalid value"),
    (("--method", "by-path", "--detection", "0.9"),
     "--detection has no meaning for the method 'by-path', only for unassociated"),
    (("--method", "unassociated", "--cell", "-2"), "--cell: input should be greater than 0"),
    (("--method", "unassociated", "--unknown", "tilt"),
     "--unknown: input should be 'clock' or 'heading'"),
    (("--method", "direct", "--angle-std", "0.1"), "--angle-std has no meaning here"),
    (("--readings", "r.csv"), "--readings has no meaning here: only received power needs it"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=lambda x: "-".join(x)[:30])
def test_options_that_make_no_sense_are_refused(folder, tmp_path, capsys, options, sentence):
    words = ("locate", folder / "e.parquet", "--map", folder / "map", "--out", tmp_path / "f.csv")
    code, _, err = run(capsys, *words, *options)
    assert code == 2
    assert sentence in err
    assert not (tmp_path / "f.csv").exists()


def test_a_map_is_needed(folder, tmp_path, capsys):
    code, _, err = run(capsys, "locate", folder / "e.parquet", "--out", tmp_path / "f.csv")
    assert code == 2
    assert "a folder of maps is needed: give it by --map" in err


def test_paired_echoes_are_read_whole(folder, tmp_path):
    number, echoes, station = read_paired_echoes(folder / "paired.parquet", 0.01, 1e-9)
    assert isinstance(echoes, PairedEchoes)
    assert number.tolist() == list(range(3, 13))
    assert station == "mast"
    assert echoes.valid.all()
    table = parquet.read_table(folder / "paired.parquet")
    row = 7
    at = tuple(int(table[name][row].as_py()) for name in ("departure_path", "arrival_path"))
    assert echoes.delay[(0, *at)] == table["delay"][row].as_py()
    twice = pa.concat_tables([table, table.slice(4, 1)])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="two echoes of the same target and pair of paths"):
        read_paired_echoes(tmp_path / "twice.parquet", 0.01, 1e-9)
    with pytest.raises(ValueError, match=r"must be above zero.*state one for all by angle_std"):
        read_paired_echoes(folder / "paired.parquet")
