"""Samples on disk: there and back, and what is refused."""

import math

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.estimation import Fft, estimate
from echoscape.reports.sample_file import echoes_from_estimates, read_samples, write_samples
from echoscape.reports.target_table import read_targets
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform


def made(receiver="a", noise=0.2):
    rng = np.random.default_rng(0)
    real, imaginary = rng.standard_normal((2, 2, 3, 4, 16))
    return EchoSnapshots(
        received=real + 1j * imaginary, target=np.array([7, 3]), time=np.array([0.0, 1.5]),
        waveform=Waveform(16, 2.5e5, 3), transmit=PlanarArray(2, 2, 0.4, 0.5, 1.2, -0.1),
        receive=PlanarArray(columns=3, azimuth=0.3), transmit_station="a",
        receive_station=receiver, noise_variance=noise, empty=real[0] * 1j,
    )  # fmt: skip


@pytest.mark.parametrize("noise", [0.2, None])
def test_samples_come_back_as_they_were(tmp_path, noise):
    before = made("b", noise)
    write_samples(before, tmp_path / "s.npz")
    after = read_samples(tmp_path / "s.npz")
    for name in ("received", "target", "time", "empty"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name in ("waveform", "transmit", "receive", "transmit_station", "receive_station"):
        assert getattr(after, name) == getattr(before, name)
    assert after.noise_variance == before.noise_variance
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("received", np.full((2, 3, 4, 16), np.nan + 0j), "received must be finite numbers"),
        ("received", np.ones((2, 3, 4)), "received must have 4 axes"),
        ("receive", np.array([1, 3, 0.5, 0.0, 0, 0]), "column_spacing must be finite and above"),
        ("receive", np.array([1.5, 2, 0.5, 0.5, 0, 0]), "receive must count in whole numbers"),
        ("transmit", np.ones(5), r"transmit must have the shape \(6\); got \(5,\)"),
        ("waveform", np.array([16, math.nan, 1]), "spacing must be finite and above zero, in Hz"),
        ("noise_variance", np.array(-1.0), "noise_variance must be finite and above zero"),
        (
            "target",
            np.array([1]),
            "target must have the shape \\(snapshot\\) with 2 for snapshot, as received has",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_files_name(tmp_path, name, value, message):
    write_samples(made(), tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        values = {each: stored[each] for each in stored.files}
    np.savez(tmp_path / "t.npz", **(values | {name: value}))
    with pytest.raises(InputError, match=message) as refusal:
        read_samples(tmp_path / "t.npz")
    assert "t.npz" in str(refusal.value)


def test_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", received=np.ones(3))
    with pytest.raises(InputError, match="lacks the array 'target'"):
        read_samples(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", echoscape=np.array("snapshots 1"))
    with pytest.raises(InputError, match="holds snapshots, but samples were needed"):
        read_samples(tmp_path / "s.npz")
    with pytest.raises(FileNotFoundError, match="samples were needed"):
        read_samples(tmp_path / "none.npz")


@pytest.mark.slow
def test_echoes_keep_the_targets_numbers_and_say_who_sent_and_who_heard():
    one = made()
    echoes = echoes_from_estimates(one, estimate(one, method=Fft(most=3)))
    np.testing.assert_array_equal(echoes.target, [7, 3])
    np.testing.assert_array_equal(echoes.time, [0.0, 1.5])
    assert echoes.station == ("a",)
    # a single row of receiving antennas: its zenith is that of an angle nobody knows
    heard = echoes.estimates.valid
    np.testing.assert_allclose(echoes.estimates.arrival_zenith[heard], 0.5 * np.pi)
    np.testing.assert_allclose(echoes.estimates.arrival_zenith_std[heard], np.pi / np.sqrt(12))
    assert np.all(np.isfinite(echoes.estimates.departure_zenith_std))
    two = made("b")
    echoes = echoes_from_estimates(two, estimate(two, method=Fft(most=3)))
    assert echoes.ways() == [("a", "b")]


def test_targets_are_numbered_by_row_unless_they_say_so(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("x,y,z\n1,2,3\n4,5,6\n")
    number, place = read_targets(file)
    np.testing.assert_array_equal(number, [0, 1])
    np.testing.assert_array_equal(place, [[1, 2, 3], [4, 5, 6]])
    file.write_text("target,x,y,z\n9,1,2,3\n9,4,5,6\n")
    with pytest.raises(InputError, match="two targets of the same number"):
        read_targets(file)
    file.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="z"):
        read_targets(file)
