"""A station's echoes from files: what is taken, what is refused, and the start as a table."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli.track import check_echoes
from echoscape.propagation import Paths
from echoscape.reports import Echoes, write_echoes
from echoscape.tracking.joint_start import joint_start
from echoscape.tracking.joint_start_file import read_station_echoes, start_table
from tests.tracking.test_joint_start import STD, USER, heard, paths
from tests.worlds.walls import STATION


def write(path, sender=None):
    """Write one target's echoes, two straight back and one that returns another way."""
    azimuth, zenith, length = (
        np.array([x]) for x in ([0.3, -2.0, 1.0], [1.5, 1.6, 1.4], [80.0, 60, 99])
    )
    one = np.ones((1, 3))
    echoes = Echoes(
        estimates=Paths(
            departure_azimuth=azimuth, departure_zenith=zenith,
            arrival_azimuth=azimuth + np.array([[0.0, 0.0, 0.5]]), arrival_zenith=zenith,
            length=length, power=1e-9 * one, valid=one > 0, length_std=0.3 * one,
            **{f"{e}_{k}_std": 0.01 * one for e in ("departure", "arrival")
               for k in ("azimuth", "zenith")},
        ),
        target=np.array([0]), time=np.zeros(1), station_index=np.array([0]),
        station=("mast",) if sender is None else ("mast", sender),
        sender_index=None if sender is None else np.array([1]),
    )  # fmt: skip
    write_echoes(echoes, path)
    return path


def test_echoes_that_return_the_way_they_came_are_taken(tmp_path):
    found = read_station_echoes(write(tmp_path / "e.parquet"), STATION)
    assert sorted(found.range) == pytest.approx([30.0, 40.0])
    assert found.range_std == pytest.approx(0.15)
    assert found.angle_std == pytest.approx(0.01 / np.sqrt(2))  # two looks at one direction


def test_echoes_of_another_station_are_refused(tmp_path):
    with pytest.raises(InputError, match="echoes between several stations, mast, hill"):
        read_station_echoes(write(tmp_path / "e.parquet", sender="hill"), STATION)
    point = np.array([[10.0, 3.0, 2.0], [-20.0, 5.0, 4.0]])
    np.savez(tmp_path / "p.npz", point=point, range_m=np.linalg.norm(point - STATION, axis=1))
    with pytest.raises(InputError, match="states no errors; give --angle-std"):
        read_station_echoes(tmp_path / "p.npz", STATION)
    found = read_station_echoes(tmp_path / "p.npz", STATION, 0.01, 1e-9)
    assert found.range_std == pytest.approx(0.149896229)
    with pytest.raises(InputError, match=r"echoes of another station: its ranges are \S+ m off"):
        read_station_echoes(tmp_path / "p.npz", STATION + 9.0, 0.01, 1e-9)
    with pytest.raises(InputError, match="--echoes has no effect with --filter joint"):
        check_echoes("joint", tmp_path / "p.npz")


def test_the_table_has_a_row_for_each_path():
    truth = paths()
    measured = np.array([m for _, m, _ in truth])
    found = joint_start(heard(), measured, np.tile(STD, (len(truth), 1)), STATION,
                        np.tile(USER, (len(truth), 1)))  # fmt: skip
    table = start_table(found, np.arange(len(truth)))
    assert table["class"][0].as_py() == "direct"
    assert table["first_x"][0].as_py() is None
    assert table["last_cov_zz"][1].as_py() == pytest.approx(found.last_covariance[1, 2, 2])
    assert table.num_rows == len(truth)
