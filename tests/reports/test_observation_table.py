"""Observations: round trips, what is refused, and that the manual lists every column."""

import pathlib
import re

import numpy as np
import pyarrow as pa
import pytest

from echoscape.checks import InputError
from echoscape.reports import read_observations, write_observations
from echoscape.reports.observation_table import observations_from_table
from echoscape.reports.schema import OBSERVATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rows(**changed):
    """Three rows at two instants and an empty instant; the user is known at the first."""
    columns = {
        "time": [0.0, 0.0, 0.5, 0.7],
        "departure_azimuth": [0.1, -2.0, 0.2, None],
        "departure_zenith": [1.6, 1.7, 1.65, None],
        "arrival_azimuth": [3.0, 1.0, -3.1, None],
        "arrival_zenith": [1.5, 1.4, 1.45, None],
        "delay": [1e-7, 2.5e-7, 1.1e-7, None],
        "power": [1e-9, 2e-10, 1e-9, None],
        **{
            f"{name}_std": [0.01, 0.02, 0.01, None]
            for name in (
                "departure_azimuth",
                "departure_zenith",
                "arrival_azimuth",
                "arrival_zenith",
            )
        },
        "delay_std": [1e-9, 1e-9, 2e-9, None],
        "user_x": [4.0, 4.0, None, None],
        "user_y": [5.0, 5.0, None, None],
        "user_z": [1.5, 1.5, None, None],
    } | changed
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def test_rows_are_grouped_by_instant():
    seen = observations_from_table(rows())
    assert seen.time.tolist() == [0.0, 0.5, 0.7]
    assert seen.estimates.valid.tolist() == [[True, True], [True, False], [False, False]]
    assert seen.row.tolist() == [[0, 1], [2, -1], [-1, -1]]
    assert seen.estimates.delay[0].tolist() == pytest.approx([1e-7, 2.5e-7], rel=1e-15)
    assert seen.user_known.tolist() == [True, False, False]
    assert seen.user_position[0].tolist() == [4.0, 5.0, 1.5]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_reads_back(tmp_path, suffix):
    first = observations_from_table(rows())
    write_observations(first, tmp_path / f"seen{suffix}")
    again = read_observations(tmp_path / f"seen{suffix}")
    assert np.array_equal(first.estimates.arrival_azimuth, again.estimates.arrival_azimuth)
    assert np.array_equal(first.estimates.valid, again.estimates.valid)
    assert np.array_equal(first.user_known, again.user_known)
    assert np.array_equal(first.time, again.time)


def test_a_row_that_repeats_another_counts_once():
    table = pa.concat_tables([rows().slice(0, 1), rows()])
    seen = observations_from_table(table)
    assert seen.repeated == 1
    assert seen.estimates.valid.sum() == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"time": [0.5, 0.0, 0.7, 0.8]}, "'time' must not run backwards.*row 2.*sort the rows"),
        ({"departure_azimuth": [10.0, 20.0, 3.0, None]}, "multiply them by pi/180"),
        ({"delay": [100.0, 250.0, 110.0, None]}, "multiply them by 1e-9"),
        ({"power": [-90.0, -95.0, -91.0, None]}, "if these are decibels"),
        ({"delay_std": [0.0, 1e-9, 1e-9, None]}, "every observation needs its error.*--delay-std"),
        ({"user_x": [None, None, None, None]}, "'user_x' must be filled where"),
        ({"user_y": [5.0, 7.0, None, None]}, "'user_y' must be the same in all rows"),
        ({"delay": [1e-7, None, 1e-7, None]}, "'delay' must be filled unless"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(changed, message):
    with pytest.raises(InputError, match=message):
        observations_from_table(rows(**changed))


def test_errors_may_be_stated_once_for_all():
    names = [name for name in rows().column_names if name.endswith("_std")]
    bare = rows().drop_columns(names)
    seen = observations_from_table(bare, angle_std=0.02, delay_std=2e-9)
    assert seen.estimates.delay_std[0].tolist() == pytest.approx([2e-9, 2e-9], rel=1e-15)
    with pytest.raises(InputError, match="--angle-std"):
        observations_from_table(bare, delay_std=2e-9)


def test_every_column_is_documented_with_its_unit():
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    section = re.search(r"^## Observations$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\| `(\w+)` \| ([^|]*)\| ([^|]*)\|", section[1], re.MULTILINE)
    documented = {name: (unit.strip(), needed.strip()) for name, unit, needed in found}
    assert list(documented) == list(OBSERVATIONS.names)
    for column in OBSERVATIONS.columns:
        assert documented[column.name][0] == column.unit.strip("[]")
        assert not column.required or documented[column.name][1] == "yes"
