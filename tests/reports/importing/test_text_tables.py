"""Tables as people have them: every dress is read, or refused with a cure that works."""

import datetime
import gzip
import os
import re

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.reports import read_reports
from echoscape.reports.importing.geodesy import local_metres
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.direct_paths import make_reports

ORIGIN = np.array([48.137, 11.575, 0.0])  # latitude, longitude [deg], height [m]


def rows():
    """Columns of twelve users, one path a row, as a spreadsheet would name them."""
    reports = make_reports(5, 12, 0.7, 2)
    paths = reports.estimates
    own, slot = np.nonzero(paths.valid)
    place, stand = reports.position[own], reports.station_position[0]
    take = lambda name: np.asarray(getattr(paths, name))[own, slot]  # noqa: E731
    table = {"point": list(own)}
    table |= {f"tx_{axis}": [stand[i]] * len(own) for i, axis in enumerate("xyz")}
    table |= {f"rx_{axis}": list(place[:, i]) for i, axis in enumerate("xyz")}
    table |= {
        "aod_az_deg": np.degrees(take("departure_azimuth")),
        "aod_zen_deg": np.degrees(take("departure_zenith")),
        "aoa_az_deg": np.degrees(take("arrival_azimuth")),
        "aoa_zen_deg": np.degrees(take("arrival_zenith")),
        "delay_ns": take("length") / SPEED_OF_LIGHT * 1e9,
        "gain_db": 10 * np.log10(take("power")),
    }
    return reports, table


def text(table, separator=",", comma=False):
    """Write cells in nine digits, with decimal commas if wanted."""

    def cell(value):
        if isinstance(value, str | int | np.integer):
            return str(value)
        return f"{value:.10g}".replace(".", ",") if comma else f"{value:.10g}"

    lines = [separator.join(table)]
    lines += [separator.join(map(cell, row)) for row in zip(*table.values())]
    return "\n".join(lines) + "\n"


def same(file, reports):
    """Compare what was imported with the scene, user by user."""
    got = read_reports(file)
    assert len(got) == len(reports)
    shift = got.station_position[0] - reports.station_position[0]
    np.testing.assert_allclose(got.position - shift, reports.position, atol=2e-4)
    assert (got.estimates.valid.sum(axis=1) == reports.estimates.valid.sum(axis=1)).all()
    for name in ("departure_azimuth", "arrival_zenith", "length"):
        one, other = (
            np.sort(np.where(each.valid, getattr(each, name), 99.0), axis=1)
            for each in (got.estimates, reports.estimates)
        )
        np.testing.assert_allclose(one[:, :2], other[:, :2], atol=1e-4)
    np.testing.assert_allclose(
        got.estimates.power.sum(axis=1), reports.estimates.power.sum(axis=1), rtol=1e-4
    )


def imported(source, *more):
    out = source.with_name("out.parquet")
    assert main(["reports", "import", str(source), "--out", str(out), *more]) == 0
    return out


DRESSES = {
    "plain": ("t.csv", lambda t: text(t).encode()),
    "tabs": ("t.tsv", lambda t: text(t, "\t").encode()),
    "semicolons and decimal commas": ("t.csv", lambda t: text(t, ";", True).encode()),
    "tabs and decimal commas": ("t.txt", lambda t: text(t, "\t", True).encode()),
    "bars": ("t.csv", lambda t: text(t, "|").encode()),
    "spaces": ("t.txt", lambda t: text(t, " ").encode()),
    "sep=; of a spreadsheet": ("t.csv", lambda t: b"sep=;\r\n" + text(t, ";").encode()),
    "UTF-16": ("t.csv", lambda t: text(t).encode("utf-16")),
    "UTF-8 with a mark": ("t.csv", lambda t: text(t).encode("utf-8-sig")),
    "gzip": ("t.csv.gz", lambda t: gzip.compress(text(t).encode())),
    "UTF-16, tabs, gzip": ("t.tsv.gz", lambda t: gzip.compress(text(t, "\t").encode("utf-16"))),
    "comments and empty lines": ("t.csv", lambda t: b"# by hand\n\n" + text(t).encode()),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_table_in_any_dress_is_read(tmp_path, dress):
    reports, table = rows()
    name, write = DRESSES[dress]
    (tmp_path / name).write_bytes(write(table))
    same(imported(tmp_path / name), reports)


@pytest.mark.parametrize(
    "stamp",
    [
        "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S+01:00", "%s",
    ],
)  # fmt: skip
def test_times_and_identifiers_may_be_text(tmp_path, stamp):
    reports, table = rows()
    start = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    moments = [start + datetime.timedelta(seconds=1.0 * int(k)) for k in table["point"]]
    write = {"%s": lambda moment: str(moment.timestamp())}.get(stamp, lambda m: m.strftime(stamp))
    table["point"] = [f"car-{k:02d}" for k in table["point"]]
    table["timestamp"] = [write(moment) for moment in moments]
    (tmp_path / "t.csv").write_text(text(table))
    out = imported(tmp_path / "t.csv")
    same(out, reports)
    time = read_reports(out).time
    np.testing.assert_allclose(time - time[0], np.arange(len(time)), atol=1e-6)


def test_latitudes_and_longitudes_become_metres_about_the_station(tmp_path):
    reports, table = rows()
    for end in ("tx", "rx"):
        x, y = (np.asarray(table.pop(f"{end}_{axis}")) for axis in "xy")
        place = np.tile(ORIGIN, (len(x), 1))
        for _ in range(5):  # invert the projection by Newton's method
            off = np.c_[x, y] - local_metres(place, ORIGIN)[:, :2]
            place[:, 1] += off[:, 0] / (111e3 * np.cos(np.radians(ORIGIN[0])))
            place[:, 0] += off[:, 1] / 111e3
        table[f"{end}_lat"] = [f"{v:.10f}" for v in place[:, 0]]
        table[f"{end}_lon"] = [f"{v:.10f}" for v in place[:, 1]]
    (tmp_path / "t.csv").write_text(text(table))
    same(imported(tmp_path / "t.csv"), reports)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        (lambda t: t | {"dist_m": t["delay_ns"] * 0.2}, "wrong one by --column '(dist_m=ignore)'"),
        (lambda t: t | {"seen": ["noon"] * len(t["point"]), "time": ["12 h"] * len(t["point"])},
         "--column '?(time=ignore)'?"),
        (lambda t: t | {"toa_us": t["delay_ns"]}, "--column '(toa_us=ignore)'"),
    ],
)  # fmt: skip
def test_the_cure_of_a_refusal_works(tmp_path, capsys, change, cure):
    reports, table = rows()
    (tmp_path / "t.csv").write_text(text(change(table)))
    words = ["reports", "import", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out.parquet")]
    assert main(words) == 2
    told = re.search(cure, capsys.readouterr().err.replace("\n", " "))
    assert told is not None
    assert not (tmp_path / "out.parquet").exists()
    same(imported(tmp_path / "t.csv", "--column", told[1]), reports)


@pytest.mark.parametrize("way", ["semicolons", "gzip", "UTF-16"])
def test_our_own_table_in_a_foreign_dress_is_sent_to_import(tmp_path, capsys, way):
    reports, table = rows()
    (tmp_path / "t.csv").write_text(text(table))
    own = imported(tmp_path / "t.csv")
    assert main(["reports", "convert", str(own), str(tmp_path / "own.csv")]) == 0
    plain = (tmp_path / "own.csv").read_text()
    file = tmp_path / ("x.csv.gz" if way == "gzip" else "x.csv")
    file.write_bytes({
        "semicolons": lambda: plain.replace(",", ";").replace(".", ",").encode(),
        "gzip": lambda: gzip.compress(plain.encode()),
        "UTF-16": lambda: plain.encode("utf-16"),
    }[way]())  # fmt: skip
    capsys.readouterr()
    assert main(["reports", "check", str(file)]) == 2
    told = re.search(
        "echoscape (reports import SOURCE --out FILE.parquet)", capsys.readouterr().err
    )
    assert told is not None
    out = tmp_path / "cured.parquet"
    stands = {"SOURCE": str(file), "FILE.parquet": str(out)}
    assert main([stands.get(word, word) for word in told[1].split()]) == 0
    same(out, reports)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.csv.gz"])
def test_what_never_ends_is_refused_before_it_is_read(tmp_path, name, capsys):
    os.mkfifo(tmp_path / name)
    assert main(["reports", "import", str(tmp_path / name), "--out", str(tmp_path / "o.csv")]) == 2
    assert "is a pipe, socket or device; a table of text was needed" in capsys.readouterr().err


def test_a_packed_table_far_larger_than_its_file_is_refused(tmp_path, capsys):
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * (20 << 20)))
    assert packed.stat().st_size < 1e6
    assert main(["reports", "import", str(packed), "--out", str(tmp_path / "o.csv")]) == 2
    assert "its text need" in capsys.readouterr().err
