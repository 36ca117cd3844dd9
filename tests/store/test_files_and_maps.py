"""Folders of Parquet, versions of maps and whole files go in and come out as they were."""

import json
import sqlite3

import numpy as np
import pyarrow.dataset as ds
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.reports import write_reports
from echoscape.store import (
    Store,
    add_file,
    add_map,
    add_reports,
    check_store,
    export_reports,
    find_reports,
    import_reports,
    list_files,
    list_maps,
    take_file,
    take_map,
)
from tests.store.test_store import reports


@pytest.fixture
def store(tmp_path):
    return Store.create(str(tmp_path / "site.db"))


@pytest.fixture
def map_folder(tmp_path):
    folder = tmp_path / "city"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": "echoscape channel map", "seed": 3}')
    (folder / "arrays-1.safetensors").write_bytes(bytes(range(256)) * 9)
    return folder


def test_an_export_has_a_folder_for_each_station_and_day(store, tmp_path):
    given = reports(80)
    add_reports(store, given, "walk")
    assert export_reports(store, tmp_path / "out") == 80
    partitioned = ds.dataset(
        str(tmp_path / "out"), format="parquet", partitioning="hive", exclude_invalid_files=True
    )
    table = partitioned.to_table(columns=["report", "time", "day", "station"])
    days = (np.asarray(table["time"]) // 86400).astype(int)
    assert [f"1970-01-{day + 1:02d}" for day in days] == table["day"].to_pylist()
    assert len(set(table["report"].to_pylist())) == 80
    assert {p.parent.parent.name for p in (tmp_path / "out").glob("*/*/*.parquet")} == {
        "station=north", "station=s%C3%BCd",
    }  # fmt: skip
    assert import_reports(store, tmp_path / "out", "copy") == (0, 80)
    other = Store.create(str(tmp_path / "other.db"))
    assert import_reports(other, tmp_path / "out", "copy") == (80, 0)
    assert import_reports(other, tmp_path / "out", "copy") == (0, 80)
    back = find_reports(other)
    order, wanted = np.argsort(back.time), np.argsort(given.time)
    np.testing.assert_array_equal(back.position[order], given.position[wanted])
    valid = np.asarray(given.estimates.valid)[wanted]
    np.testing.assert_allclose(
        np.asarray(back.estimates.length)[order][valid],
        np.asarray(given.estimates.length)[wanted][valid], rtol=1e-15,
    )  # fmt: skip


def test_nothing_to_export_and_nothing_to_import_are_said(store, tmp_path):
    with pytest.raises(InputError, match="no reports to export"):
        export_reports(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="station=NAME/day=DATE"):
        import_reports(store, tmp_path, "copy")


def test_versions_of_a_map_come_back_byte_for_byte(store, map_folder, tmp_path):
    first = add_map(store, map_folder, "city", report_count=40, last_report=40)
    (map_folder / "manifest.json").write_text('{"format": "echoscape channel map", "seed": 4}')
    second = add_map(
        store, map_folder, "city", report_count=60, last_report=60, parent=first.number
    )
    assert [(v.name, v.version) for v in list_maps(store)] == [("city", 1), ("city", 2)]
    assert second.parent == first.number
    assert json.loads(second.manifest)["seed"] == 4
    take_map(store, "city", tmp_path / "old", 1)
    assert json.loads((tmp_path / "old/manifest.json").read_text())["seed"] == 3
    assert take_map(store, "city", tmp_path / "new").version == 2
    arrays = "arrays-1.safetensors"
    assert (tmp_path / "new" / arrays).read_bytes() == (map_folder / arrays).read_bytes()
    with pytest.raises(InputError, match="versions 1 to 2; got 5"):
        take_map(store, "city", tmp_path / "none", 5)
    with pytest.raises(InputError, match=r"map of the store 'citi'.*city"):
        take_map(store, "citi", tmp_path / "none")
    with pytest.raises(InputError, match="holds no map"):
        add_map(store, tmp_path, "city")


def test_damaged_content_is_refused_and_named(store, map_folder, tmp_path):
    add_map(store, map_folder, "city")
    image = tmp_path / "image.npz"
    image.write_bytes(b"voxels" * 100)
    add_file(store, image, "image")
    file = str(store.engine.url.database)
    store.close()
    with sqlite3.connect(file) as connection:
        for table in ("maps", "files"):
            connection.execute(f"update {table} set content = cast(content || x'00' as blob)")
    store = Store.open(file)
    assert check_store(store) == [
        "row 1 of maps (city) is not what was kept: its digest differs",
        "row 1 of files (image.npz) is not what was kept: its digest differs",
    ]
    with pytest.raises(InputError, match="damaged"):
        take_map(store, "city", tmp_path / "out")
    with pytest.raises(InputError, match="not what was entered"):
        take_file(store, 1, tmp_path / "out.npz")
    assert not (tmp_path / "out").exists()


def test_a_file_is_kept_once_whole_or_by_reference(store, tmp_path):
    image = tmp_path / "image.npz"
    image.write_bytes(b"voxels" * 100)
    kept = add_file(store, image, "image")
    assert add_file(store, image, "image") == kept
    take_file(store, kept.number, tmp_path / "back.npz")
    assert (tmp_path / "back.npz").read_bytes() == image.read_bytes()
    large = tmp_path / "snapshots.npz"
    large.write_bytes(b"pilots" * 100)
    there = add_file(store, large, "snapshots", reference=True)
    take_file(store, there.number, tmp_path / "pilots.npz")
    large.unlink()
    with pytest.raises(InputError, match="is gone"):
        take_file(store, there.number, tmp_path / "pilots.npz")
    assert [f.kind for f in list_files(store)] == ["image", "snapshots"]
    with pytest.raises(InputError, match="no file of number 9"):
        take_file(store, 9, tmp_path / "x")


def run(capsys, *words):
    code = main(["store", *(str(word) for word in words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_from_making_a_store_to_compacting_it(tmp_path, capsys, map_folder):
    url = tmp_path / "site.db"
    code, _, err = run(capsys, "stats", url)
    assert code == 2
    assert "echoscape store init" in err
    assert "nothing forgotten" in run(capsys, "init", url)[1]
    given = reports(30)
    write_reports(given, tmp_path / "walk.parquet")
    assert (
        "30 new, 0 there already" in run(capsys, "import", url, tmp_path / "walk.parquet", "-q")[1]
    )
    assert (
        "0 new, 30 there already" in run(capsys, "import", url, tmp_path / "walk.parquet", "-q")[1]
    )
    assert "map city, version 1" in run(capsys, "import", url, map_folder)[1]
    code, out, _ = run(capsys, "stats", url, "--json")
    found = json.loads(out)
    assert (found["rows"]["reports"], found["rows"]["maps"]) == (30, 1)
    assert {s["station"]: s["count"] for s in found["stations"]}["north"] > 0
    assert run(capsys, "export", url, tmp_path / "out", "-q")[1].endswith("30 reports\n")
    code, out, _ = run(capsys, "import", url, tmp_path / "out", "-q", "--json")
    assert json.loads(out) == {"kind": "export", "new": 0, "repeated": 30}
    assert run(capsys, "export", url, tmp_path / "map", "--map", "city")[0] == 0
    assert run(capsys, "check", url, "-q")[0] == 0
    with sqlite3.connect(url) as connection:
        connection.execute("update reports set x = x + 1 where id = 7")
    code, _, err = run(capsys, "check", url, "-q")
    assert code == 1
    assert "row 7 of reports" in err
    code, _, err = run(capsys, "prune", url)
    assert code == 2
    assert "--before SECONDS" in err
    assert "deleted" in run(capsys, "prune", url, "--before", "86400")[1]
    assert "MiB now" in run(capsys, "compact", url)[1]
    assert find_reports(Store.open(str(url))).time.min() >= 86400


def test_files_that_hold_nothing_known_are_refused(tmp_path, capsys):
    url = tmp_path / "site.db"
    run(capsys, "init", url)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.npz").write_bytes(b"PK")
    (tmp_path / "folder").mkdir()
    for name in ("a.csv", "b.npz", "folder"):
        code, _, err = run(capsys, "import", url, tmp_path / name)
        assert code == 2
        assert "--kind" in err
    code, _, err = run(
        capsys, "import", url, tmp_path / "a.csv", "--kind", "reports", "--reference"
    )
    assert code == 2
    assert "--reference is for files" in err
