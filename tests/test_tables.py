"""What pages say was measured is what the stored rows say."""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
_FILE = importlib.util.spec_from_file_location("write_tables", ROOT / "tools/write_tables.py")
tables = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(tables)


@pytest.mark.parametrize("name", tables.PAGES)
def test_prose_equals_rows(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.filled(text, tables.stored()) == text, "run tools/write_tables.py"
    assert re.findall(r"<!-- rows: (\w+) -->", text) == list(tables.BLOCKS)


def test_another_row_is_another_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = tables.stored()
    next(row for row in rows["scores"] if row["method"] == "anchors")["median"] = 9.87
    assert "9.87" in tables.filled(text, rows)
    assert "| 9.9 |" in tables.filled(text, rows)
    rows = tables.stored()
    rows["counts"]["fixed errors"]["flagged"] = 1234
    assert "1234" in tables.filled(text, rows)


def test_rows_of_a_demo_become_the_stored_ones(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "rows").mkdir()
    nan = float("nan")
    scores = {"method": ["anchors", "bound"], "mode": ["fixed errors"] * 2,
              "median": [0.123456, 1.0], "p90": [2.0, nan]}  # fmt: skip
    far = {"method": ["anchors"] * 6, "mode": ["fixed errors"] * 4 + ["link budget"] * 2,
           "heard": [25, 25, 25, 0, 0, 4], "error": [0.5, 11.0, 12.0, nan, nan, 2.0],
           "status": ["located"] * 2 + ["ambiguous"] + ["no_echo"] * 2 + ["located"]}  # fmt: skip
    beams = {"method": ["anchors"], "tried": [3], "beams": [64], "found": [2 / 3]}
    for name, table in (("scores", scores), ("targets", far), ("beams", beams)):
        about = {b"echoscape demo": b'{"version": "0.9", "seed": 3, "epochs": 5}'}
        described = pa.table(table).replace_schema_metadata(about)
        parquet.write_table(described, tmp_path / f"rows/{name}.parquet")
    found = tables.take_demo(tmp_path)
    assert (found["version"], found["seed"]) == ("0.9", 3)
    assert found["scores"][0]["median"] == 0.1235
    assert found["scores"][1]["p90"] is None
    assert found["counts"]["fixed errors"] == {
        "targets": 4, "heard": 3, "within 3 m": 1, "beyond 10 m": 2, "beyond 10 m and flagged": 1,
        "flagged": 1,
    }  # fmt: skip
    assert found["counts"]["link budget"]["heard"] == 1
    assert found["beams"][0]["found"] == 0.6667
