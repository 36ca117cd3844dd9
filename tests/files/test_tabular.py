"""Tables: pages are checked, cells are safe, sizes bounded, nothing unneeded is loaded."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from echoscape.checks import InputError
from echoscape.files.output import protecting
from echoscape.files.tabular import read_columns, title_of, write_columns
from echoscape.reports.files import write_table
from echoscape.reports.schema import FIXES, REPORTS

NAMES = ["=1+1", "+a", "-b", "@c", "\tt", "'=x", "'plain", "plain", "", "two\nlines", 'q"uote', "ü"]


def read(path, **more):
    return read_columns(path, "a table of things", **more)


def test_cells_of_text_are_written_safe_and_read_back_the_same(tmp_path):
    table = pa.table(
        {
            "name": NAMES,
            "=column": np.arange(-6.0, 6.0),
            "code": pa.array(NAMES).dictionary_encode(),
        }
    )
    write_columns(table, tmp_path / "a.csv", "things 1")
    lines = (tmp_path / "a.csv").read_text().split("\n")
    assert lines[0] == "# echoscape things 1"
    for line in lines[1:]:
        assert not line.strip('"').startswith(("=", "+", "-", "@", "\t"))
    found = read(tmp_path / "a.csv", kinds={"name": pa.string(), "code": pa.string()})
    assert found["name"].to_pylist() == NAMES
    assert found["code"].to_pylist() == found["name"].to_pylist()
    assert found["=column"].to_pylist() == list(range(-6, 6))  # numbers stay numbers
    assert title_of(tmp_path / "a.csv") == "things 1"


def test_a_flipped_bit_in_a_page_is_noticed(tmp_path):
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).normal(size=5000)
    write_columns(pa.table({"x": values}), path, "things 1")
    assert read(path)["x"].to_pylist() == values.tolist()
    assert title_of(path) == "things 1"
    content = bytearray(path.read_bytes())
    for place in range(1000, 30_000, 1931):
        content[place] ^= 0x04
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged, cut short"):
            read(path)
        content[place] ^= 0x04


def test_only_the_columns_that_are_needed_are_loaded(tmp_path):
    table = pa.table({"a": [1.0, 2.0], "b": ["x", "y"], "c": [3, 4]})
    for name in ("t.parquet", "t.csv"):
        write_columns(table, tmp_path / name, "things 1")
        found = read(tmp_path / name, only={"c", "d"})
        assert found.column_names == ["a", "b", "c"]
        assert found["c"].to_pylist() == [3, 4]
        assert found["a"].null_count == found["b"].null_count == 2


def test_a_small_file_that_claims_much_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x": pa.array(np.zeros(8_000_000))}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"its columns need .* of memory.*--largest-input"):
        read(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_more_columns_than_a_table_has_are_refused(tmp_path, name):
    table = pa.table({f"c{k}": [1] for k in range(1001)})
    if name.endswith("csv"):
        (tmp_path / name).write_text(",".join(table.column_names) + "\n" + ",".join("1" * 1001))
    else:
        parquet.write_table(table, tmp_path / name)
    with pytest.raises(InputError, match="has 1001 columns, but a table has at most 1000"):
        read(tmp_path / name)


def test_columns_that_csv_cannot_hold_are_named(tmp_path):
    for values in ([[1], [2]], [b"x", b"y"]):
        with pytest.raises(InputError, match=r"column 'x' holds .* which CSV cannot"):
            write_columns(pa.table({"x": values}), tmp_path / "a.csv", "things 1")


def test_a_command_does_not_replace_a_table_of_another_kind(tmp_path):
    fixes = pa.table({"target": [1], "x": [0.0], "y": [0.0], "z": [0.0], "status": ["located"]})
    for name in ("a.parquet", "a.csv"):
        write_table(fixes, tmp_path / name, FIXES)
        with protecting():
            write_table(fixes, tmp_path / name, FIXES)
            with pytest.raises(InputError, match="exists and holds fixes, not reports"):
                write_table(fixes, tmp_path / name, REPORTS)
        with protecting(force=True):
            write_table(fixes, tmp_path / name, REPORTS)
        assert title_of(tmp_path / name) == "reports 1"


def test_an_end_of_line_within_the_header_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"target,x\r,y\n1,2,3\n")
    with pytest.raises(InputError, match=r"a\.csv cannot be read as csv, it is damaged"):
        read_columns(path, "a table of fixes was needed")
