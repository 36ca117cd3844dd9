"""Tables of reports, echoes and fixes: round trips, speed, and every refusal."""

import time

import jax
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from echoscape.checks import InputError
from echoscape.propagation import Paths
from echoscape.reports import (
    Echoes,
    Reports,
    read_echoes,
    read_fixes,
    read_reports,
    write_echoes,
    write_fixes,
    write_reports,
)
from echoscape.reports.schema import REPORTS
from echoscape.reports.table import reports_from_table, table_from_reports

# Paths drawn at random suit no positions, of which reports rightly warn.
pytestmark = pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")


def estimates(rng, valid, arrival=True, zero_std=False):
    shape = valid.shape

    def draw(low, high):
        return np.where(valid, rng.uniform(low, high, shape), 0.0)

    def deviation(high):
        return np.zeros(shape) if zero_std else np.where(valid, rng.uniform(1e-3, high, shape), 0)

    known = np.full(shape, bool(arrival)) | ~valid
    return Paths.from_delays(
        departure_azimuth=draw(-np.pi, np.pi),
        departure_zenith=draw(0, np.pi),
        arrival_azimuth=draw(-np.pi, np.pi) * known,
        arrival_zenith=draw(0, np.pi) * known,
        delay=draw(1e-7, 4e-6),
        power=np.sort(draw(1e-15, 1e-9), axis=-1)[..., ::-1] * valid,
        departure_azimuth_std=deviation(0.1),
        departure_zenith_std=deviation(0.1),
        arrival_azimuth_std=np.where(known, deviation(0.1), np.inf),
        arrival_zenith_std=np.where(known, deviation(0.1), np.inf),
        delay_std=deviation(0.1) * 1e-8,
        valid=valid,
    )


def mask(rng, sets, most):
    count = rng.integers(0, most + 1, sets)
    count[rng.integers(sets)] = most  # the padding is as wide as the longest set
    return np.arange(most) < count[:, None]


def make_reports(seed=0, sets=7, most=4, stations=2, **options):
    rng = np.random.default_rng(seed)
    return Reports(
        estimates=estimates(rng, mask(rng, sets, most), **options),
        position=rng.uniform(-200, 300, (sets, 3)),
        position_std=rng.uniform(0, 2, sets),
        time=rng.uniform(0, 1e5, sets),
        report=rng.permutation(sets) * 3,
        station_index=np.arange(sets) % stations,
        station_position=rng.uniform(-100, 100, (stations, 3)),
        station=tuple(f"mast {i}" for i in range(stations)),
    )


def make_echoes(seed=0, sets=5, most=6):
    rng = np.random.default_rng(seed)
    return Echoes(
        estimates=estimates(rng, mask(rng, sets, most)),
        target=rng.permutation(sets) + 40,
        time=rng.uniform(0, 10, sets),
        station_index=np.arange(sets) % 2,
        station=("a", "b"),
    )


def same(one, other):
    leaves, structure = jax.tree.flatten(one)
    others, structure_other = jax.tree.flatten(other)
    assert structure == structure_other
    for a, b in zip(leaves, others):
        # Lengths become delays and lengths again: each step rounds the last bit.
        np.testing.assert_allclose(a, b, rtol=5e-16, atol=0)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 10**6),
    sets=st.integers(2, 9),
    most=st.integers(1, 5),
    stations=st.integers(1, 2),
    arrival=st.booleans(),
    zero_std=st.booleans(),
    suffix=st.sampled_from([".parquet", ".csv"]),
)
def test_reports_come_back_but_for_the_last_bit(
    tmp_path, seed, sets, most, stations, arrival, zero_std, suffix
):
    reports = make_reports(seed, sets, most, stations, arrival=arrival, zero_std=zero_std)
    file = tmp_path / f"reports{suffix}"
    write_reports(reports, file)
    same(read_reports(file), reports)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_echoes_come_back_but_for_the_last_bit(tmp_path, suffix):
    for seed in range(5):
        echoes = make_echoes(seed)
        write_echoes(echoes, tmp_path / f"echoes{suffix}")
        same(read_echoes(tmp_path / f"echoes{suffix}"), echoes)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_fixes_come_back_with_further_columns_and_lost_ones_empty(tmp_path, suffix):
    columns = {
        "note": ["", "two words"],
        "status": ["located", "outside"],
        "target": np.array([3, 9]),
        "x": np.array([1.25, np.nan]),
        "y": np.array([2.5e-17, np.nan]),
        "z": np.array([1.5, np.nan]),
    }
    file = tmp_path / f"fixes{suffix}"
    write_fixes(columns, file)
    back = read_fixes(file)
    assert list(back) == ["target", "x", "y", "z", "status", "note"]
    for name, values in columns.items():
        np.testing.assert_array_equal(back[name], values)
    with pytest.raises(InputError, match=r"need the columns y, z"):
        write_fixes({name: columns[name] for name in ("target", "x", "status")}, file)
    with pytest.raises(InputError, match=r"must have one length"):
        write_fixes(columns | {"z": [1.0]}, file)


def shuffled(table, seed=1):
    return table.take(np.random.default_rng(seed).permutation(len(table)))


def by_number(reports):
    order = np.lexsort((reports.station_index, reports.report))
    return {
        "report": reports.report[order],
        "position": reports.position[order],
        "station": np.array(reports.station)[reports.station_index][order],
        "estimates": reports.estimates[order],
    }


def test_the_order_of_rows_does_not_matter():
    reports = make_reports(sets=20, most=5)
    table = shuffled(table_from_reports(reports))
    one, other = by_number(reports_from_table(table)), by_number(reports)
    for name in ("report", "position", "station"):
        np.testing.assert_array_equal(one[name], other[name])
    same(one["estimates"], other["estimates"])


def test_without_path_numbers_the_strongest_comes_first():
    reports = make_reports(sets=20, most=5, stations=1)
    table = shuffled(table_from_reports(reports).drop_columns("path"))
    same(by_number(reports_from_table(table))["estimates"], by_number(reports)["estimates"])


def test_path_numbers_and_not_power_order_the_paths():
    table = table_from_reports(make_reports(sets=6, most=3, stations=1))
    turned = pa.array([None if p is None else 2 - p for p in table["path"].to_pylist()])
    table = table.set_column(table.column_names.index("path"), "path", turned)
    estimates = reports_from_table(table).estimates
    full = estimates.valid.all(axis=1)
    assert full.any()
    assert (np.diff(estimates.power[full], axis=1) > 0).all()


def test_one_user_may_report_two_stations():
    reports = make_reports(sets=2, stations=2)
    table = table_from_reports(reports).to_pydict()
    table["report"] = [5] * len(table["report"])
    for name in "xyz":
        table[name] = [1.0] * len(table[name])
    again = reports_from_table(pa.table(table))
    assert again.report.tolist() == [5, 5]
    assert again.station_index.tolist() == [0, 1]
    table["x"][-1] = 2.0
    with pytest.raises(
        InputError, match=r"report 5 comes with two values of position, in rows 1 and"
    ):
        reports_from_table(pa.table(table))


def test_what_is_left_out_has_its_stated_meaning():
    reports = make_reports(sets=9, stations=1)
    drop = [c.name for c in REPORTS.columns if not c.required and not c.name.startswith("station")]
    bare = reports_from_table(table_from_reports(reports).drop_columns(drop))
    valid = bare.estimates.valid
    assert not bare.time.any()
    assert not bare.position_std.any()
    assert not bare.estimates.delay_std.any()
    assert not bare.estimates.departure_zenith_std.any()
    for name in ("arrival_azimuth", "arrival_zenith"):
        assert not getattr(bare.estimates, name).any()
        assert np.isinf(getattr(bare.estimates, f"{name}_std")[valid]).all()
        assert not getattr(bare.estimates, f"{name}_std")[~valid].any()


def test_a_file_of_outages_alone_is_read(tmp_path):
    reports = make_reports(sets=3, most=1, stations=1)
    table = table_from_reports(reports).to_pydict()
    cells = REPORTS.names[REPORTS.names.index("path") :]
    table = {k: [None] * 3 if k in cells else v for k, v in table.items()}
    outages = reports_from_table(pa.table(table))
    assert outages.estimates.valid.shape == (3, 1)
    assert not outages.estimates.valid.any()
    write_reports(outages, tmp_path / "out.csv")
    same(read_reports(tmp_path / "out.csv"), outages)


def test_single_precision_and_names_as_numbers_are_understood():
    table = table_from_reports(make_reports(stations=1))
    table = table.cast(
        pa.schema(
            [f.with_type(pa.float32() if f.type == pa.float64() else f.type) for f in table.schema]
        )
    )
    table = table.set_column(1, "station", pa.array([7] * len(table)))
    reports = reports_from_table(table)
    assert reports.station == ("7",)
    assert reports.estimates.delay.dtype == np.float64


def test_tables_of_other_programs_need_no_version(tmp_path):
    reports = make_reports()
    parquet.write_table(table_from_reports(reports), tmp_path / "plain.parquet")
    same(read_reports(tmp_path / "plain.parquet"), reports)
    write_reports(reports, tmp_path / "ours.csv")
    lines = (tmp_path / "ours.csv").read_text().split("\n", 1)
    assert lines[0] == "# echoscape reports 1"
    (tmp_path / "plain.csv").write_text("\ufeff" + lines[1])  # as spreadsheets save it
    same(read_reports(tmp_path / "plain.csv"), reports)


def test_many_reports_are_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    sets = 20_000
    reports = make_reports(sets=8, stations=1)
    reports = Reports(
        estimates=estimates(rng, np.ones((sets, 12), dtype=bool)),
        position=rng.uniform(0, 300, (sets, 3)),
        position_std=np.zeros(sets),
        time=np.zeros(sets),
        report=np.arange(sets),
        station_index=np.zeros(sets, dtype=int),
        station_position=reports.station_position,
        station=reports.station,
    )
    write_reports(reports, tmp_path / "many.parquet")
    start = time.process_time()
    back = read_reports(tmp_path / "many.parquet")
    assert time.process_time() - start < 4  # about 0.4 s; a loop over rows takes half a minute
    same(back, reports)
