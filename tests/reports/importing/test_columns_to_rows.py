"""Columns of foreign names: units that a name leaves open, and what must not be guessed."""

import re

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.reports.geometry import check_geometry
from echoscape.reports.importing.column_names import meaning, parse_statements
from echoscape.reports.importing.columns_to_rows import Choices, rows_of_columns
from echoscape.reports.importing.path_rows import reports_from_rows
from echoscape.units import SPEED_OF_LIGHT

USER = np.array([[52.0, -18.0, 1.5], [31.0, 22.0, 1.5], [24.0, 3.0, 2.5], [60.0, 9.0, 1.5]])
STATION = np.array([3.0, 4.0, 9.0])
AWAY = USER - STATION
LENGTH = np.linalg.norm(AWAY, axis=1)
AZIMUTH, ZENITH = np.arctan2(AWAY[:, 1], AWAY[:, 0]), np.arccos(AWAY[:, 2] / LENGTH)


def columns(**more):
    """Direct paths to four users, with columns replaced, added or, if None, left out."""
    found = {
        "pose": np.arange(4),
        **{f"rx_{axis}": values for axis, values in zip("xyz", USER.T)},
        **{f"tx_{axis}": np.full(4, value) for axis, value in zip("xyz", STATION)},
        "aod_az": AZIMUTH, "aod_zen": ZENITH, "delay": LENGTH / SPEED_OF_LIGHT,
        "gain_db": np.full(4, -80.0),
    }  # fmt: skip
    return {name: values for name, values in {**found, **more}.items() if values is not None}


def read(**more):
    return rows_of_columns(columns(**more), Choices(), "list.csv")


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e6, 1e9, 1e12])
def test_the_unit_of_delays_is_the_physical_one(factor):
    rows, _ = read(delay=factor * LENGTH / SPEED_OF_LIGHT)
    assert np.allclose(rows.length, LENGTH, rtol=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1e6, 1e9])
def test_positions_in_kilometres_make_no_other_unit_of_delays(factor):
    short = {f"{end}_{axis}": columns()[f"{end}_{axis}"] / 1e3 for end in ("rx", "tx")
             for axis in "xyz"}  # fmt: skip
    rows, _ = read(delay=factor * LENGTH / SPEED_OF_LIGHT, **short)
    assert np.allclose(rows.length, LENGTH, rtol=1e-9)
    (found,) = check_geometry(reports_from_rows(rows))
    assert "kilometres" in found.sentence


def test_places_within_a_metre_or_a_kilometre_are_asked_about():
    close = {f"{end}_{axis}": columns()[f"{end}_{axis}"] / 50 for end in ("rx", "tx")
             for axis in "xyz"}  # fmt: skip
    with pytest.raises(InputError, match="metres if 'delay' is in ns, kilometres if it is in a"):
        read(delay=1e9 * LENGTH / 50 / SPEED_OF_LIGHT, **close)
    rows, _ = read(delay_ns=1e9 * LENGTH / 50 / SPEED_OF_LIGHT, delay=None, **close)
    assert np.allclose(rows.length, LENGTH / 50, rtol=1e-9)


def test_two_columns_of_one_meaning_are_asked_about_and_none_is_given_up():
    with pytest.raises(InputError, match="both mean user x; say what one of them is by --column"):
        read(mast_x=USER[:, 0])


def test_zeniths_in_degrees_leave_azimuths_in_radians():
    rows, _ = read(aod_zen=np.degrees(ZENITH))
    assert np.allclose(rows.departure_azimuth, AZIMUTH)
    assert np.allclose(rows.departure_zenith, ZENITH)
    rows, _ = read(aod_az=np.degrees(AZIMUTH))
    assert np.allclose(rows.departure_azimuth, AZIMUTH)
    assert np.allclose(rows.departure_zenith, ZENITH)


def test_angles_of_either_unit_are_asked_about_where_no_direct_path_tells():
    longer = (LENGTH + 9.0) / SPEED_OF_LIGHT
    with pytest.raises(InputError, match="may be in degrees, as other angles are, or in radians"):
        read(aod_zen=np.degrees(ZENITH), delay=longer)


@pytest.mark.parametrize(
    ("name", "quantity", "unit"),
    [
        ("rx_power_mW", "received_power", "mw"), ("P_rx (dBm)", "received_power", "dbm"),
        ("rx_power", "received_power", "dbm"), ("eirp_dbm", "transmit_power", "dbm"),
        ("Ptx_dBm", "transmit_power", "dbm"), ("P_tx (dBm)", "transmit_power", "dbm"),
        ("gNB x", "station_x", ""), ("txx", "station_x", ""), ("xr_m", "user_x", "m"),
        ("ue1_z", "user_z", ""), ("RX_N", "user_y", ""), ("TX_U", "station_z", ""),
        ("AAoD", "departure_azimuth", ""), ("ZAoA [deg]", "arrival_zenith", "deg"),
        ("theta_dep_rad", "departure_zenith", "rad"), ("arr_incl_deg", "arrival_zenith", "deg"),
        ("gain_re", "amplitude_real", ""), ("gain_im", "amplitude_imaginary", ""),
        ("path_gain_dB", "power", "db"),
    ],
)  # fmt: skip
def test_powers_by_their_names(name, quantity, unit):
    assert (meaning(name).quantity, meaning(name).unit) == (quantity, unit)


def test_gains_of_antennas_are_no_gains_of_paths():
    assert meaning("tx_gain_db") is None
    assert meaning("antenna gain (dB)") is None


def test_what_is_lost_or_relative_is_doubted():
    _, notes = read(gain_db=None, odd=np.full(4, 7.0))
    told = {note.quantity: note for note in notes}
    assert told["power"].doubt
    assert "--column NAME=power:db" in told["power"].taken
    assert told["not used"].taken == "odd"
    _, notes = read(gain_db=None, relative_power_db=np.full(4, -3.0))
    assert any(note.doubt and "relative to something" in note.taken for note in notes)
    assert not any(note.doubt for note in read()[1])


def test_times_that_are_no_times_are_refused():
    times = np.array(["01.03.2026 12:00"] * 4, dtype=object)
    with pytest.raises(InputError, match=r"ISO 8601.*row 1 has '01.03.2026 12:00'.*time=ignore"):
        read(time=times)
    times = np.array([f"2026-03-01T12:00:0{k}Z" for k in range(4)], dtype=object)
    assert np.allclose(np.diff(read(time=times)[0].time), 1.0)


@pytest.mark.parametrize("name", ["delay_ns", "rx_x", "gain_db", "aod_zen"])
@pytest.mark.parametrize("mark", [9999.0, -999.0, 99999.9, 2.0**31 - 1, -32767.0, 1e10])
def test_marks_of_unknown_values_are_no_values(name, mark):
    given = columns(delay=None, delay_ns=1e9 * LENGTH / SPEED_OF_LIGHT)[name].astype(float)
    given[2] = mark
    more = {"delay": None, "delay_ns": 1e9 * LENGTH / SPEED_OF_LIGHT, name: given}
    with pytest.raises(InputError, match=f"'{name}' has .* in row 3, far above every other value"):
        read(**more)


def test_a_value_that_looks_like_a_mark_is_kept_where_it_is_stated():
    given = 1e9 * LENGTH / SPEED_OF_LIGHT
    given[1] = 9999.0
    table = columns(delay=None, delay_ns=given)
    with pytest.raises(InputError) as refusal:
        rows_of_columns(table, Choices(), "list.csv")
    stated = re.search("--column '(.*)'", str(refusal.value))
    assert stated is not None
    choices = Choices(parse_statements([stated[1]]))
    rows, _ = rows_of_columns(table, choices, "list.csv")
    assert np.isclose(rows.length[1], 9999e-9 * SPEED_OF_LIGHT)
    labels = np.array([1, 2, 9999, 4])
    assert len(read(pose=labels)[0].report) == 4  # any number names a pose
