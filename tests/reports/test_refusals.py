"""Every bad table is refused in one sentence that names the column, the unit, the row, the cure."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from echoscape.checks import InputError
from echoscape.reports import read_echoes, read_fixes, read_reports
from echoscape.reports.schema import ECHOES, FIXES, REPORTS
from echoscape.reports.table import echoes_from_table, reports_from_table

# Report 7 has two paths, report 8 none, report 9 one.
GOOD = {
    "report": [7, 7, 8, 9],
    "station": ["bs", "bs", "bs", "bs"],
    "station_x": [1.0, 1.0, 1.0, 1.0],
    "station_y": [2.0, 2.0, 2.0, 2.0],
    "station_z": [10.0, 10.0, 10.0, 10.0],
    "time": [0.0, 0.0, 0.0, 5.0],
    "x": [30.0, 30.0, 40.0, 50.0],
    "y": [-60.0, -60.0, 20.0, 30.0],
    "z": [1.5, 1.5, 1.5, 1.5],
    "position_std": [0.5, 0.5, 0.5, 0.5],
    "path": [0, 1, None, 0],
    "departure_azimuth": [0.5, -3.0, None, 2.0],
    "departure_zenith": [1.6, 1.7, None, 1.5],
    "arrival_azimuth": [-0.5, None, None, 1.0],
    "arrival_zenith": [1.5, None, None, 1.4],
    "delay": [3e-7, 5e-7, None, 4e-7],
    "power": [1e-9, 1e-10, None, 1e-11],
    "departure_azimuth_std": [0.01, 0.01, None, None],
    "delay_std": [1e-9, 1e-9, None, 1e-9],
}
ECHO = {
    "target": [3, 3, 4],
    "station": ["bs", "bs", "bs"],
    "departure_azimuth": [0.5, -3.0, 2.0],
    "departure_zenith": [1.6, 1.7, 1.5],
    "arrival_azimuth": [-0.5, 1.0, 1.0],
    "arrival_zenith": [1.5, 1.5, 1.4],
    "delay": [3e-7, 5e-7, 4e-7],
    "power": [1e-9, 1e-10, 1e-11],
    "departure_azimuth_std": [0.01] * 3,
    "departure_zenith_std": [0.01] * 3,
    "arrival_azimuth_std": [0.01] * 3,
    "arrival_zenith_std": [0.01] * 3,
    "delay_std": [1e-9] * 3,
}


def refusal(columns, read=reports_from_table, **options):
    with pytest.raises(InputError) as caught:
        read(pa.table(columns), source="u.csv", **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "u.csv" in sentence
    return sentence


def changed(name, row, value, columns=GOOD):
    values = list(columns[name])
    values[row] = value
    return columns | {name: values}


def without(name, columns=GOOD):
    return {key: values for key, values in columns.items() if key != name}


def test_the_good_table_is_good():
    reports = reports_from_table(pa.table(GOOD))
    assert reports.report.tolist() == [7, 8, 9]
    assert reports.estimates.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert echoes_from_table(pa.table(ECHO)).target.tolist() == [3, 4]


@pytest.mark.parametrize("name", [c.name for c in REPORTS.columns if c.required])
def test_a_report_column_left_out_is_named(name):
    assert f"u.csv has no column '{name}'" in refusal(without(name))


def test_a_table_of_another_layout_is_sent_to_import():
    several = {k: v for k, v in without("report").items() if not k.startswith("departure")}
    assert "bring other layouts in by echoscape reports import SOURCE" in refusal(several)
    assert "reports import" not in refusal(without("report"))


@pytest.mark.parametrize("name", [c.name for c in ECHOES.columns if c.required])
def test_an_echo_column_left_out_is_named(name):
    assert f"u.csv has no column '{name}'" in refusal(without(name, ECHO), echoes_from_table)


@pytest.mark.parametrize("name", [c.name for c in FIXES.columns if c.required])
def test_a_fix_column_left_out_is_named(tmp_path, name):
    columns = {"target": [1], "x": [0.1], "y": [0.2], "z": [0.3], "status": ["located"]}
    parquet.write_table(pa.table(without(name, columns)), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=rf"f.parquet has no column '{name}'"):
        read_fixes(tmp_path / "f.parquet")


def misspelt(name, wrong):
    return {wrong if key == name else key: values for key, values in GOOD.items()}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (misspelt("delay", "dealy"), r"no column 'delay' [s], which reports need; rename 'dealy'"),
        (misspelt("delay_std", "delays_std"), "unknown column 'delays_std' where 'delay_std' was"),
        (misspelt("delay_std", "delay_sdt"), "unknown column 'delay_sdt' where 'delay_std' was"),
        (misspelt("delay_std", "Delay_Std"), "unknown column 'Delay_Std' where 'delay_std' was"),
        (
            changed("departure_azimuth_std", 1, 5.0),
            "column 'departure_azimuth_std' must be at most 3.14, or infinite [rad], but row 2 "
            "(report 7) has 5; if these are degrees, multiply them by pi/180",
        ),
        (
            changed("delay_std", 3, 5.0),
            "column 'delay_std' must be at most 1e-05, or infinite [s], but row 4 (report 9) "
            "has 5; if these are nanoseconds, multiply them by 1e-9",
        ),
        (without("station_y"), "no column 'station_y' [m]; all three are needed"),
        (
            without("station_x", without("station_y", without("station_z"))),
            "no columns station_x, station_y, station_z [m]; add them or place the stations by a "
            "site file (--site SITE.toml)",
        ),
        (
            changed("departure_azimuth", 1, 145.0),
            "column 'departure_azimuth' must lie between -pi and pi [rad], but row 2 (report 7) "
            "has 145; if these are degrees, multiply them by pi/180",
        ),
        (
            GOOD | {"departure_azimuth": [0.5, 5.0, None, 2.0]},
            "but row 2 (report 7) has 5; subtract 2 pi from those above pi",
        ),
        (
            GOOD | {"departure_zenith": [-0.02, 0.1, None, 0.2]},
            "column 'departure_zenith' must lie between 0 (up) and pi [rad], but row 1 (report 7) "
            "has -0.02; if these are elevations above the horizon, take pi/2 - elevation",
        ),
        (changed("arrival_zenith", 3, 95.0), "row 4 (report 9) has 95; if these are degrees"),
        (changed("arrival_azimuth", 0, np.inf), "'arrival_azimuth' must be finite [rad]"),
        (
            changed("delay", 3, 412.5),
            "column 'delay' must stay below 3.34e-05 [s], but row 4 (report 9) has 412.5; a "
            "path of 1.237e+08 km is not physical, so if these are nanoseconds, multiply them "
            "by 1e-9",
        ),
        (changed("delay", 0, -1e-9), "column 'delay' must not be negative [s], but row 1"),
        (
            changed("delay", 0, np.nan),
            "'delay' must hold numbers [s], but row 1 (report 7) has nan",
        ),
        (
            changed("power", 3, -93.5),
            "column 'power' must not be negative [linear], but row 4 (report 9) has -93.5; if "
            "these are decibels, take 10**(power/10)",
        ),
        (changed("x", 3, np.nan), "'x' must hold numbers [m], but row 4 (report 9) has nan; leave"),
        (changed("y", 3, np.inf), "column 'y' must be finite [m], but row 4 (report 9) has inf"),
        (changed("z", 2, None), "column 'z' must not be empty [m], but row 3 (report 8) is empty"),
        (changed("time", 3, np.inf), "column 'time' must be finite [s]"),
        (changed("position_std", 3, -1.0), "'position_std' must not be negative [m], but row 4"),
        (changed("delay_std", 3, -1e-9), "'delay_std' must not be negative [s], but row 4"),
        (changed("delay_std", 3, np.nan), "'delay_std' must hold numbers [s], but row 4"),
        (GOOD | {"report": [7.0, 7.0, 8.5, 9.0]}, "'report' must hold whole numbers, but row 3"),
        (changed("report", 2, None), "'report' must hold a whole number in every row, but row 3"),
        (GOOD | {"report": ["a", "a", "b", "c"]}, "'report' must hold numbers (whole numbers)"),
        (GOOD | {"x": ["30"] * 4}, "column 'x' must hold numbers [m], but it holds string"),
        (changed("station", 2, ""), "'station' must hold a name in every row, but row 3"),
        (changed("station", 2, None), "'station' must hold a name in every row, but row 3"),
        (
            changed("x", 1, 31.0),
            "report 7 comes with two values of position, in rows 1 and 2; give each report its own "
            "number",
        ),
        (changed("time", 1, 31.0), "report 7 comes with two values of time, in rows 1 and 2"),
        (changed("position_std", 1, 3.0), "report 7 comes with two values of position_std"),
        (changed("x", 1, 31.0) | {"path": [0, 0, None, 0]}, "report 7 has path 0 twice"),
        (changed("path", 1, 0), "report 7 has path 0 twice, in rows 1 and 2; number the paths"),
        (changed("path", 1, -2), "'path' must not be negative, but row 2 (report 7) has -2"),
        (changed("path", 1, None), "'path' must be numbered in every row or in none, but row 2"),
        (changed("path", 2, 0), "'departure_azimuth' must be filled unless every column"),
        (changed("delay", 1, None), "'delay' must be filled unless every column of the path is"),
        (changed("arrival_zenith", 2, 1.0), "must be filled unless every column of the path is"),
        (
            GOOD
            | {"report": [7, 8, 8, 9], "x": [30.0, 40.0, 40.0, 50.0], "y": [-60.0, 20, 20, 30]},
            "report 8 has an empty row beside another one (rows 2 and 3)",
        ),
        (
            changed("station_x", 3, 4.0),
            "station 'bs' must stand still, but row 4 (report 9) has it 3 m from its first",
        ),
        ({"report;station;x": ["7;bs;2"]}, "no column 'report', which reports need; separate the"),
        ({k: v[:0] for k, v in GOOD.items()}, "has a header but no rows; at least one was needed"),
    ],
)
def test_a_bad_report_is_explained(columns, sentence):
    assert sentence in refusal(columns)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            without("delay_std", ECHO),
            "every echo needs its error, a column 'delay_std' [s] above zero, but row 1 (target 3) "
            "has none; fill it or state one error for all by delay_std",
        ),
        (changed("arrival_zenith_std", 2, None, ECHO), "'arrival_zenith_std' [rad] above zero"),
        (changed("delay_std", 1, 0.0, ECHO), "row 2 (target 3) has 0.0; fill it or state one"),
        (changed("delay", 1, 300.0, ECHO), "'delay' must stay below 0.001 [s]"),
        (changed("arrival_azimuth", 1, None, ECHO), "'arrival_azimuth' must be filled unless"),
        (
            ECHO | {"time": [0.0, 1.0, 0.0]},
            "target 3 comes with two values of time, in rows 1 and 2; give each target its own",
        ),
    ],
)
def test_a_bad_echo_is_explained(columns, sentence):
    assert sentence in refusal(columns, echoes_from_table)


def test_stated_errors_fill_only_the_empty_cells():
    columns = without("delay_std", changed("arrival_zenith_std", 2, None, ECHO))
    echoes = echoes_from_table(pa.table(columns), angle_std=0.3, delay_std=2e-9).estimates
    assert echoes.arrival_zenith_std.tolist() == [[0.01, 0.01], [0.3, 0.0]]
    np.testing.assert_allclose(echoes.delay_std, [[2e-9, 2e-9], [2e-9, 0.0]], rtol=1e-15)


def test_a_target_without_echo_is_one_empty_row():
    columns = {
        name: [*values, 5] if name == "target" else [*values, None] for name, values in ECHO.items()
    }
    columns["station"][-1] = "bs"
    echoes = echoes_from_table(pa.table(columns))
    assert echoes.target.tolist() == [3, 4, 5]
    assert echoes.estimates.valid.sum(axis=1).tolist() == [2, 1, 0]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_that_is_not_there_or_empty_is_named(tmp_path, suffix):
    file = tmp_path / f"lost{suffix}"
    with pytest.raises(FileNotFoundError, match=rf"no file .*lost{suffix}; a table of reports"):
        read_reports(file)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=rf"lost{suffix} is empty; a table of reports was needed"):
        read_reports(file)


def test_a_damaged_file_is_refused(tmp_path):
    file = tmp_path / "cut.parquet"
    parquet.write_table(pa.table(GOOD), file)
    whole = file.read_bytes()
    for length in (1, 3, 7, 8, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(
            InputError, match=r"cut.parquet cannot be read as parquet, it is damaged"
        ):
            read_reports(file)
    middle = bytearray(whole)
    middle[40:300] = b"\xff" * 260
    file.write_bytes(middle)
    with pytest.raises(InputError, match=r"cut.parquet cannot be read as parquet"):
        read_reports(file)


def test_a_csv_that_is_none_is_refused(tmp_path):
    file = tmp_path / "u.csv"
    file.write_text("report,station,x\n1,bs\n")
    with pytest.raises(InputError, match=r"u.csv cannot be read as csv"):
        read_reports(file)
    file.write_text("report,station,x\n1,bs,far\n")
    with pytest.raises(InputError, match=r"u.csv: column 'x' must hold numbers .* has 'far'"):
        read_reports(file)
    file.write_text("report,station,report\n1,bs,1\n")
    with pytest.raises(InputError, match=r"u.csv has the column 'report' twice"):
        read_reports(file)
    file.write_text("# echoscape reports 1\n")
    with pytest.raises(InputError, match=r"u.csv"):
        read_reports(file)


def test_another_kind_or_a_later_version_is_refused(tmp_path):
    file = tmp_path / "u.csv"
    file.write_text("# echoscape echoes 1\nreport\n1\n")
    with pytest.raises(InputError, match=r"u.csv is a table of echoes, but reports were needed"):
        read_reports(file)
    table = pa.table(ECHO).replace_schema_metadata({"echoscape": "echoes 2"})
    parquet.write_table(table, tmp_path / "u.parquet")
    with pytest.raises(InputError, match=r"has version 2 of the format of echoes.*up to version 1"):
        read_echoes(tmp_path / "u.parquet")


def test_an_unknown_suffix_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"u\.xlsx must end in \.parquet or \.csv"):
        read_reports(tmp_path / "u.xlsx")
    (tmp_path / "u.csv").mkdir()
    with pytest.raises(InputError, match=r"u.csv is a folder"):
        read_reports(tmp_path / "u.csv")


def test_a_word_among_the_numbers_of_a_csv_names_its_column(tmp_path):
    header = ",".join(f'"{name}"' for name in GOOD)
    cells = [["" if value is None else str(value) for value in row] for row in zip(*GOOD.values())]
    cells[2][list(GOOD).index("departure_zenith")] = "level"
    lines = ["# echoscape reports 1", header, *(",".join(row) for row in cells)]
    (tmp_path / "u.csv").write_text("\n".join(lines))
    sentence = r"column 'departure_zenith' must hold numbers \[rad\], but it has 'level'; leave"
    with pytest.raises(InputError, match=sentence):
        read_reports(tmp_path / "u.csv")
