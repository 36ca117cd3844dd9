"""AODT's tables of our own making: one scene in its layouts; what cannot be decided is asked."""

import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from echoscape.checks import InputError
from echoscape.reports import ImportOptions, import_reports
from echoscape.units import SPEED_OF_LIGHT

CARRIER, WATTS = 3.6e9, {1: 40.0, 4: 5.0}
WAVELENGTH = SPEED_OF_LIGHT / CARRIER
RU = {1: np.array([3.0, -4.0, 22.0]), 4: np.array([-61.0, 30.0, 17.5])}
UE = {
    0: np.array([40.0, 12.0, 1.5]),
    2: np.array([-20.0, -31.0, 1.6]),
    7: np.array([9.0, 55.0, 1.4]),
}
HEARD = {(1, 0): 2, (1, 2): 1, (4, 0): 1, (4, 7): 2}
"""How many rays each link has; all others are in outage."""


def rays():
    """Points and gains of each link: the straight ray, and one with a bounce."""
    found = {}
    for (ru, ue), count in HEARD.items():
        ends = RU[ru], UE[ue]
        trails = [np.stack(ends), np.stack([ends[0], [17.0, 80.0, 6.0], ends[1]])][:count]
        length = [np.linalg.norm(np.diff(t, axis=0), axis=1).sum() for t in trails]
        lost = np.array([1.0, 0.2])[:count]
        gain = (WAVELENGTH / (4 * math.pi * np.array(length))) ** 2 * lost
        found[ru, ue] = trails, np.array(length), gain
    return found


def write(folder, per_metre=100.0, received=True, struct=False, polarised=False, times=(0,),
          pattern=0, swap=False, skip=()):  # fmt: skip
    trails, taps = [], []
    for time in times:
        for (ru, ue), (points, length, gain) in rays().items():
            for k in range(len(points)):
                scaled = (per_metre * points[k]).tolist()
                spelt = [dict(zip("123", p)) for p in scaled] if struct else scaled
                trails.append({
                    "time_idx": time, "ru_id": ru, "ue_id": ue, "ru_ant_el": [0, 0],
                    "ue_ant_el": [0, 0], "points": spelt,
                    "interaction_types": ["emission", *["reflection"] * (len(scaled) - 2)],
                })  # fmt: skip
            size = np.sqrt(gain * (WATTS[ru] if received else 1.0))
            order = slice(None, None, -1) if swap else slice(None)
            for p in range(2 if polarised else 1):
                for q in range(2 if polarised else 1):
                    mine = size * (1.0 if p == q else 0.0)
                    taps.append({
                        "time_idx": time, "ru_id": ru, "ue_id": ue, "ru_ant_el": [0, 0, p],
                        "ue_ant_el": [0, 0, q], "cir_re": (0.6 * mine[order]).tolist(),
                        "cir_im": (-0.8 * mine[order]).tolist(),
                        "cir_delay": (length[order] / SPEED_OF_LIGHT).tolist(),
                    })  # fmt: skip
    tables = {
        "raypaths": trails, "cirs": taps,
        "rus": [{"ID": ru, "radiated_power": watts} for ru, watts in WATTS.items()],
        "ues": [{"ID": ue} for ue in (*UE, 9)],
        "panels": [{"panel_id": 0, "reference_freq": CARRIER}],
        "patterns": [{"pattern_id": 0, "pattern_type": pattern}],
    }  # fmt: skip
    for name, rows in tables.items():
        if name not in skip:
            parquet.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def check(reports):
    assert reports.station == ("ru-1", "ru-4")
    np.testing.assert_allclose(reports.station_position, np.stack(list(RU.values())), atol=1e-5)
    assert len(reports.report) == 6
    for row in range(6):
        ru, ue = (1, 4)[reports.station_index[row]], int(reports.report[row])
        np.testing.assert_allclose(reports.position[row], UE[ue], atol=1e-5)
        paths, count = reports.estimates[row], HEARD.get((ru, ue), 0)
        assert paths.valid.sum() == count
        if not count:
            continue
        trails, length, gain = rays()[ru, ue]
        np.testing.assert_allclose(paths.length[:count], length, atol=1e-4)
        np.testing.assert_allclose(paths.power[:count], gain, rtol=1e-6)
        for end, part in (("departure", (1, 0)), ("arrival", (-2, -1))):
            for k, trail in enumerate(trails):
                x, y, z = trail[part[0]] - trail[part[1]]
                azimuth = getattr(paths, f"{end}_azimuth")[k]
                assert math.remainder(azimuth - math.atan2(y, x), 2 * math.pi) == pytest.approx(
                    0, abs=1e-6
                )
                zenith = getattr(paths, f"{end}_zenith")[k]
                assert zenith == pytest.approx(math.atan2(math.hypot(x, y), z), abs=1e-6)


@pytest.mark.parametrize("options", [
    {}, {"per_metre": 1.0}, {"received": False}, {"struct": True}, {"polarised": True},
    {"swap": True},
])  # fmt: skip
def test_tables_in_all_their_layouts_say_the_same(tmp_path, options):
    found = import_reports(write(tmp_path, **options))
    assert found.layout == "aodt"
    check(found.reports)
    assert found.findings() == ()
    told = {note.quantity: note.taken for note in found.notes}
    assert ("[m," if options.get("per_metre") else "[cm,") in told["angles"]
    assert told["power"].endswith(
        "received, over radiated_power [W] of rus" if options.get("received", True)
        else "gains, as direct rays show"
    )  # fmt: skip
    assert told["left out"].startswith("1 UEs")
    assert told["outages"].startswith("2 links")


def test_tables_may_be_folders_of_parts(tmp_path):
    write(tmp_path)
    for name in ("raypaths", "cirs"):
        table = parquet.read_table(tmp_path / f"{name}.parquet")
        (tmp_path / name / "data").mkdir(parents=True)
        for k in range(2):
            part = table.slice(k * (table.num_rows // 2), None if k else table.num_rows // 2)
            parquet.write_table(part, tmp_path / name / "data" / f"{k}.parquet")
        (tmp_path / f"{name}.parquet").unlink()
    check(import_reports(tmp_path).reports)


def test_every_time_makes_reports_of_its_own(tmp_path):
    found = import_reports(write(tmp_path, times=(3, 8)))
    assert len(found.reports.report) == 12
    assert sorted(set(found.reports.report.tolist())) == [0, 1, 2, 3, 4, 5]


def test_what_the_tables_do_not_tell_is_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"isotropic antennas .*--transmit-power DBM"):
        import_reports(write(tmp_path, pattern=3))
    stated = ImportOptions(column=("cir_re=amplitude",))
    check(import_reports(write(tmp_path, pattern=3, received=False), None, stated).reports)
    (tmp_path / "rus.parquet").unlink()
    with pytest.raises(InputError, match=r"16.0 dB at RU 1, .*above Friis' law"):
        import_reports(write(tmp_path, skip=("rus",)))
    found = import_reports(tmp_path, None, ImportOptions(transmit_power=40.0)).reports
    direct = rays()[1, 0]
    assert found.estimates.power[0, 0] == pytest.approx(direct[2][0] * WATTS[1] / 10, rel=1e-6)


def test_what_does_not_fit_together_is_refused(tmp_path):
    write(tmp_path, per_metre=7.0)
    with pytest.raises(InputError, match="7 units of points long for each metre"):
        import_reports(tmp_path)
    write(tmp_path)
    cirs = parquet.read_table(tmp_path / "cirs.parquet")
    late = [[d + 1e-7 * k for k, d in enumerate(each)] for each in cirs["cir_delay"].to_pylist()]
    other = cirs.set_column(cirs.column_names.index("cir_delay"), "cir_delay", pa.array(late))
    parquet.write_table(other, tmp_path / "cirs.parquet")
    with pytest.raises(InputError, match="2 rays whose lengths do not agree with their 2 values"):
        import_reports(tmp_path)
    parquet.write_table(cirs.drop_columns("cir_im"), tmp_path / "cirs.parquet")
    with pytest.raises(InputError, match="no column 'cir_im', as AODT's cirs has"):
        import_reports(tmp_path)
    (tmp_path / "cirs.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks cirs\.parquet"):
        import_reports(tmp_path)


@pytest.mark.parametrize(("name", "column", "value", "message"), [
    ("cirs", "cir_re", [["x"]], "must be lists of numbers"),
    ("cirs", "cir_delay", 4.0, "must be lists of numbers of one length"),
    ("raypaths", "points", [[1.0, 2.0, 3.0]] * 2, "not all the same"),
    ("raypaths", "ue_id", 0.5, "ue_id must hold whole numbers"),
    ("raypaths", "ru_ant_el", "first", "must hold tuples of whole numbers"),
    ("rus", "radiated_power", [4.0], "radiated_power must hold numbers"),
    ("panels", "reference_freq", 1e300, "above Friis' law|isotropic antennas"),
])  # fmt: skip
def test_columns_of_other_kinds_are_refused(tmp_path, name, column, value, message):
    file = write(tmp_path) / f"{name}.parquet"
    rows = [{**row, column: value} for row in parquet.read_table(file).to_pylist()]
    parquet.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(InputError, match=message):
        import_reports(tmp_path)
