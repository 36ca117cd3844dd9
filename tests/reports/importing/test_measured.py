"""Measured multipath lists: names of any campaign, tables and structs, one frame, refusals."""

import math

import numpy as np
import pytest
from scipy.io import savemat

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.cli.options import check_folder, check_table
from echoscape.reports import (
    ImportOptions,
    direct_path_offsets,
    read_measured,
    read_reports,
    summarize_reports,
)
from echoscape.reports.importing.column_names import meaning, words_of
from echoscape.units import SPEED_OF_LIGHT

STATION, LOOKS = np.array([1.2, -0.7, 2.1]), 0.4
POSES = np.array([[4.0, 1.5, 1.1], [4.3, 1.9, 1.1], [3.1, 5.2, 1.1]])
FACES = np.array([2.9, -3.0, 0.3])
LENGTH = [np.array([4.9, 7.25, 11.0]), np.array([9.5]), np.array([6.6, 8.2])]
OUT = [np.array([0.3, -1.1, 2.0]), np.array([-2.9]), np.array([0.9, 3.0])]
BACK = [np.array([-0.2, 1.1, 0.4]), np.array([2.2]), np.array([0.1, -1.3])]
POWER = [np.array([-80.0, -95.5, -90.0]), np.array([-101.0]), np.array([-88.0, -99.0])]
HEADER = "pose,bs_x,bs_y,bs_z,bs_heading,x,y,z,ueHeading,path_length,AoD,AoA,power_dB"


def lines(header=HEADER, edit=lambda cells: cells):
    rows = [header]
    for k, place in enumerate(POSES):
        for path in zip(LENGTH[k], OUT[k], BACK[k], POWER[k]):
            cells = [7 + k, *STATION, LOOKS, *place, FACES[k], *path]
            rows.append(",".join(str(cell) for cell in edit(cells)))
    return "\n".join(rows) + "\n"


@pytest.fixture
def file(tmp_path):
    def write(text=None, name="campaign.csv"):
        (tmp_path / name).write_text(lines() if text is None else text)
        return tmp_path / name

    return write


def check(reports, sense=1.0):
    """Compare with the list above: the strongest first, angles from +x."""
    paths = reports.estimates
    assert paths.valid.sum(axis=1).tolist() == [3, 1, 2]
    np.testing.assert_allclose(reports.position, POSES)
    np.testing.assert_allclose(reports.station_position, STATION[None])
    order = [0, 2, 1]
    np.testing.assert_allclose(paths.delay[0], LENGTH[0][order] / SPEED_OF_LIGHT)
    np.testing.assert_allclose(paths.power[0], 10 ** (POWER[0][order] / 10))
    away = np.exp(1j * (LOOKS + sense * OUT[0][order]))
    np.testing.assert_allclose(np.exp(1j * paths.departure_azimuth[0]), away)
    back = np.exp(1j * (FACES[1] + sense * BACK[1][0]))
    np.testing.assert_allclose(np.exp(1j * paths.arrival_azimuth[1, 0]), back)
    assert np.abs(paths.arrival_azimuth).max() <= math.pi
    assert np.isinf(paths.departure_zenith_std[paths.valid]).all()
    assert np.isfinite(paths.departure_azimuth_std).all()


def test_a_table_of_paths_becomes_reports_in_the_sites_frame(file):
    reports = read_measured(file(), angle_std=0.05, length_std=0.2)
    check(reports)
    assert reports.report.tolist() == [7, 8, 9]
    assert reports.estimates.departure_azimuth_std[0, 0] == 0.05
    assert reports.estimates.delay_std[0, 0] == pytest.approx(0.2 / SPEED_OF_LIGHT)
    check(read_measured(file(), clockwise=True), sense=-1.0)


def test_units_are_told_by_the_names(file):
    header = (
        "tx_x,tx_y,tx_z,tx_yaw_deg,rx_x,rx_y,rx_z,rx_yaw_deg,delay_ns,aod_deg,aoa_deg,gain_linear"
    )

    def edit(cells):
        cells = cells[1:]
        for k in (3, 7, 9, 10):
            cells[k] = math.degrees(cells[k])
        cells[8] = cells[8] / SPEED_OF_LIGHT * 1e9
        cells[11] = 10 ** (cells[11] / 10)
        return cells

    check(read_measured(file(lines(header, edit))))


def test_what_was_not_measured_stays_unknown(file):
    def edit(cells):
        return [*cells[:8], *cells[9:11], cells[12], 0.2]

    header = "pose,bs_x,bs_y,bs_z,bs_heading,x,y,z,length,aod,power,aod_elevation"
    paths = read_measured(file(lines(header, edit)), angle_std=0.1).estimates
    assert np.isinf(paths.arrival_azimuth_std[paths.valid]).all()
    np.testing.assert_allclose(paths.departure_zenith[paths.valid], math.pi / 2 - 0.2)
    assert (paths.departure_zenith_std[paths.valid] == 0.1).all()


def structs(layout):
    """The same campaign as MATLAB users keep it."""
    if layout == "a struct for each pose":
        poses = [
            {"ue": {"position": POSES[k], "heading": FACES[k]}, "range": LENGTH[k],
             "AoD": OUT[k], "AoA": BACK[k], "power_dB": POWER[k]}
            for k in range(3)
        ]  # fmt: skip
        return {"campaign": {"bs": {"position": STATION, "heading": LOOKS}, "poses": poses}}
    if layout == "a struct for each path":
        poses = [
            {"rx_pose": [*POSES[k], FACES[k]], "paths": [
                {"length": a, "aod": b, "aoa": c, "gain": d}
                for a, b, c, d in zip(LENGTH[k], OUT[k], BACK[k], POWER[k])
            ]} for k in range(3)
        ]  # fmt: skip
        return {"tx_pose": [*STATION, LOOKS], "meas": poses}

    def cells(values):
        out = np.empty(3, dtype=object)
        out[:] = values
        return out

    if layout == "cells":
        return {"data": {
            "bsPosition": STATION, "bsHeading": LOOKS, "uePosition": POSES, "ueHeading": FACES,
            "distance": cells(LENGTH), "AOD": cells(OUT), "AOA": cells(BACK), "gain": cells(POWER),
        }}  # fmt: skip

    def padded(values):
        return np.array([[*row, *[np.nan] * (3 - len(row))] for row in values])

    return {
        "bs_pos": STATION, "bs_heading": LOOKS, "ue_pos": POSES, "ue_heading": FACES,
        "tau": padded(LENGTH) / SPEED_OF_LIGHT, "aod": padded(OUT), "aoa": padded(BACK),
        "power": padded(POWER),
    }  # fmt: skip


@pytest.mark.parametrize(
    "layout", ["a struct for each pose", "a struct for each path", "cells", "padded arrays"]
)
def test_structs_of_any_nesting_say_the_same(tmp_path, layout):
    savemat(tmp_path / "campaign.mat", structs(layout))
    check(read_measured(tmp_path / "campaign.mat"))


def test_names_are_understood_by_their_words():
    assert words_of("ueHeading_deg") == ["ue", "heading", "deg"]
    assert words_of("AoD_az") == ["aod", "az"]
    assert meaning("stationHeading").quantity == "station_heading"
    assert meaning("BS_pos_x").quantity == "station_x"
    assert meaning("aod_elevation").quantity == "departure_elevation"
    assert meaning("time_of_arrival_s").quantity == "delay"
    assert meaning("rx_power_dBm").quantity == "received_power"
    assert meaning("path_index").quantity == meaning("ray_id").quantity == "path"
    assert meaning("phi_t").quantity == "departure_azimuth"
    assert meaning("theta_r").quantity == "arrival_zenith"
    assert meaning("comment") is None
    assert meaning("heading") is None  # whose?


@pytest.mark.filterwarnings("ignore::UserWarning")  # those that are not asked for below
def test_direct_paths_tell_an_offset_and_a_mirrored_sense():
    rng = np.random.default_rng(3)
    place = np.c_[rng.uniform(2, 9, 20), rng.uniform(-5, 5, 20), np.full(20, 2.1)]
    away = place - STATION
    bearing, distance = np.arctan2(away[:, 1], away[:, 0]), np.linalg.norm(away, axis=1)
    text = "bs_x,bs_y,bs_z,bs_heading,x,y,z,length,aod\n" + "".join(
        f"1.2,-0.7,2.1,0.0,{p[0]},{p[1]},{p[2]},{d + 0.12},{-(b + 0.05)}\n"
        for p, d, b in zip(place, distance, bearing)
    )
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.csv"
        path.write_text(text)
        with pytest.warns(UserWarning, match="turned by -0.050 rad|differ from the distance"):
            right = direct_path_offsets(read_measured(path, clockwise=True))
        with pytest.warns(UserWarning, match="run clockwise"):
            wrong = direct_path_offsets(read_measured(path))
    assert right["poses"] == 20
    assert right["length"] == pytest.approx(0.12, abs=1e-9)
    assert right["azimuth"] == pytest.approx(0.05, abs=1e-9)
    assert right["scatter"] < 1e-9
    assert wrong["scatter"] > 0.1 > 1e-9 > wrong["scatter_mirrored"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (HEADER, HEADER.replace("AoD", "foo"), "no column for departure"),
        (HEADER, HEADER.replace("power_dB", "range"), "both mean length but do not agree"),
        ("pose,", "pose_id,", None),
        (",4.9,", ",-4.9,", "lengths must lie between 0 and 300 km"),
        (",4.9,", ",abc,", "must hold numbers, but row 1 has 'abc'"),
        ("\n7,1.2,-0.7,2.1,0.4,4.0,1.5,1.1,2.9,7.25", "\n7,1.2,-0.7,2.1,0.4,4.1,1.5,1.1,2.9,7.25",
         "another user position than the rows of its pose"),
        (",-80.0", ",-1e5", "power of -1e+05 dB"),
        (",-80.0", ",80.0", "80 dB more are received than were sent; if it is a loss, state it"),
        (",-80.0", "", "row 1 has 12 cells"),
        ("\n8,1.2,-0.7,2.1,0.4,", "\n8,1.2,-0.7,2.1,30,",
         "pose 8 has row 4, which has a station heading of 30"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_right_are_refused(file, old, new, message):
    text = lines()
    assert old in text
    if message is None:
        check(read_measured(file(text.replace(old, new))))
        return
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        read_measured(file(text.replace(old, new)))


def test_files_of_another_kind_are_refused(tmp_path, file):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_measured(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"must end in \.csv"):
        read_measured(file(name="a.xlsx"))
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read_measured(file(name="a.mat"))
    with pytest.raises(InputError, match="is empty; a MATLAB file of paths was needed"):
        read_measured(file("", name="empty.mat"))
    savemat(tmp_path / "b.mat", {"foo": 1.0})
    with pytest.raises(InputError, match="no struct with a user's position; it has the fields foo"):
        read_measured(tmp_path / "b.mat")
    with pytest.raises(InputError, match="length_std must be finite and above zero, in m"):
        read_measured(file(), length_std=0.0)


def test_a_campaign_is_summarised_by_what_it_states(file):
    told = summarize_reports(read_measured(file()))
    assert told.arrival_angles == 1.0  # azimuths; no zenith was measured
    assert told.stated_errors == 0.0
    assert summarize_reports(read_measured(file(), length_std=0.2)).stated_errors == 1.0


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, file):
    with pytest.raises(InputError, match="cannot be written"):
        check_table(file() / "below" / "out.csv", "reports")
    with pytest.raises(InputError, match="is a file; give the name of a folder"):
        check_folder(file())
    check_table(tmp_path / "new" / "out.csv", "reports")
    check_folder(tmp_path / "other" / "new")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["campaign.csv"]


def test_the_command_does_not_write_over_what_it_reads(capsys, file):
    source = file()
    before = source.read_text()
    assert main(["reports", "import-measured", str(source), str(source)]) == 2
    assert "is the file to read" in capsys.readouterr().err
    assert source.read_text() == before


def test_the_command_warns_of_a_turned_frame_and_a_late_clock(capsys, tmp_path, file):
    rng = np.random.default_rng(2)
    rows = ["bs_x,bs_y,bs_z,bs_heading,x,y,z,length,aod"]
    for x, y in rng.uniform(-8, 8, (12, 2)):
        length, bearing = np.hypot(x, y) + 0.4, np.arctan2(y, x) - 0.55
        rows.append(f"0,0,1,0.3,{x},{y},1,{length},{np.angle(np.exp(1j * bearing))}")
    source = file("\n".join(rows))
    assert main(["reports", "import", str(source), "--out", str(tmp_path / "a.parquet")]) == 0
    told = capsys.readouterr().err
    assert "azimuths were turned by +0.250 rad" in told
    assert "differ from the distance by +0.40 m" in told


def test_the_command_writes_reports_that_can_be_read_again(capsys, tmp_path, file):
    out = tmp_path / "reports.parquet"
    assert main(["reports", "import-measured", str(file()), str(out), "--angle-std", "0.05"]) == 0
    assert "3 reports with 6 paths" in capsys.readouterr().out
    check(read_reports(out))


@pytest.mark.parametrize("power", [float("nan"), float("inf"), 1e308])
def test_a_power_that_nothing_transmits_is_refused(power):
    with pytest.raises(InputError, match="transmit_power must lie between -200 and 200, in dBm"):
        ImportOptions(transmit_power=power)
