"""SigMF: round trips, a recording as others write it, and one sentence for every damage."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.reports.exporting.sigmf import write_sigmf
from echoscape.reports.importing.sigmf import read_sigmf
from echoscape.reports.importing.sigmf_recording import files_of
from echoscape.reports.sample_file import read_samples, write_samples
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform
from echoscape.units import SPEED_OF_LIGHT

CARRIER, RATE, LENGTH = 28.1e9, 200e6, 12
ARRAY = PlanarArray(2, 3, 0.6, 0.45, 0.7, 0.1)


def draw(rng, *shape):
    return rng.normal(size=(*shape, 2)) @ np.array([1.0, 1j])


@pytest.fixture
def samples():
    rng = np.random.default_rng(2)
    transmit = PlanarArray(1, 2, 0.5, 0.55, -2.0, 0.0)
    return EchoSnapshots(
        received=draw(rng, 3, 6, 2, LENGTH), target=np.array([4, 9, 2]),
        time=np.array([0.25, 1.5, 1e9]), waveform=Waveform(LENGTH, RATE / LENGTH, 5),
        transmit=transmit, receive=ARRAY, transmit_station="roof", receive_station="mast",
        noise_variance=0.125, empty=draw(rng, 6, 2, LENGTH),
    )  # fmt: skip


def test_samples_come_back(samples, tmp_path):
    write_sigmf(samples, tmp_path / "a", CARRIER)
    found, _ = read_sigmf(tmp_path / "a.sigmf-meta")
    np.testing.assert_allclose(found.received, samples.received, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.empty, samples.empty, rtol=0, atol=1e-14)
    for name in ("target", "time"):
        np.testing.assert_array_equal(getattr(found, name), getattr(samples, name))
    assert found.waveform.spacing == pytest.approx(samples.waveform.spacing, rel=1e-15)
    assert (found.waveform.subcarriers, found.waveform.symbols) == (LENGTH, 5)
    for name in ("transmit", "receive", "transmit_station", "receive_station", "noise_variance"):
        assert getattr(found, name) == getattr(samples, name)


def recording(path, values, datatype="cf32_le", **captured):
    """Write a recording as somebody else does: an array, one capture, no fields of ours."""
    channels = values.shape[1]
    capture = {"core:sample_start": 0, "core:frequency": CARRIER, **captured}
    about = {"core:datatype": datatype, "core:sample_rate": RATE, "core:version": "1.0.0",
             "core:num_channels": channels}  # fmt: skip
    if datatype.startswith("cf32"):
        raw = np.stack([values.real, values.imag], -1).astype("<f4").tobytes()
    else:
        raw = np.round(np.stack([values.real, values.imag], -1) * 2**15).astype(">i2").tobytes()
    path.with_name(path.name + ".sigmf-data").write_bytes(raw)
    content = {"global": about, "captures": [capture], "annotations": []}
    path.with_name(path.name + ".sigmf-meta").write_text(json.dumps(content))
    return content


def geometry(order):
    level = PlanarArray(2, 3, 0.6, 0.45)
    metres = np.asarray(level.positions()) * SPEED_OF_LIGHT / CARRIER + [0.0, 0.02, -0.01]
    return [{"point": point} for point in metres[order].tolist()]


def plane_wave(azimuth, zenith, delay):
    """What the array receives of one echo on each subcarrier, and what a pulse sounds like."""
    ray = [
        math.sin(zenith) * math.cos(azimuth),
        math.sin(zenith) * math.sin(azimuth),
        math.cos(zenith),
    ]
    steering = np.exp(2j * np.pi * (np.asarray(ARRAY.positions()) @ ray))
    spacing = RATE / LENGTH
    frequency = spacing * (np.arange(LENGTH) - (LENGTH - 1) / 2)
    channel = steering[:, None] * np.exp(-2j * np.pi * frequency * delay)
    n = np.arange(LENGTH)
    pulse = np.exp(2j * np.pi * frequency[:, None] * n / RATE)  # the inverse by its definition
    return channel, (channel @ pulse / LENGTH).T


@pytest.mark.parametrize("datatype", ["cf32_le", "ci16_be"])
def test_a_recording_of_others_sees_the_wave_where_it_comes_from(tmp_path, datatype):
    channel, time = plane_wave(1.1, 1.4, 31e-9)
    order = np.array([4, 0, 2, 5, 1, 3])
    bearing = {"azimuth": 90 - math.degrees(0.7), "elevation": -math.degrees(0.1)}
    recording(
        tmp_path / "a", np.tile(time[:, order], (3, 1)), datatype,
        **{"spatial:aperture_bearing": bearing, "spatial:element_geometry": geometry(order),
           "core:datetime": "2026-05-01T12:00:00.5Z"},
    )  # fmt: skip
    found, notes = read_sigmf(tmp_path / "a", subcarriers=LENGTH)
    assert found.received.shape == (3, 6, 1, LENGTH)
    np.testing.assert_allclose(
        found.received[1, :, 0], channel, atol=1e-6 if datatype == "cf32_le" else 1e-3
    )
    assert (found.receive.rows, found.receive.columns) == (2, 3)
    np.testing.assert_allclose(
        np.asarray(found.receive.positions()), np.asarray(ARRAY.positions()), atol=2e-3
    )
    assert found.time[0] == 1777636800.5
    assert found.time[2] - found.time[0] == pytest.approx(2 * LENGTH / RATE, abs=3e-7)
    assert any("unit pulse" in note.taken for note in notes)


def test_a_reference_is_divided_out(tmp_path):
    channel, _ = plane_wave(1.1, 1.4, 31e-9)
    sent = draw(np.random.default_rng(8), LENGTH)
    n, frequency = np.arange(LENGTH), RATE / LENGTH * (np.arange(LENGTH) - (LENGTH - 1) / 2)
    spectrum = np.exp(-2j * np.pi * frequency[:, None] * n / RATE) @ sent
    heard = (channel[0] * spectrum) @ np.exp(2j * np.pi * frequency[:, None] * n / RATE) / LENGTH
    recording(tmp_path / "a", heard[:, None])
    recording(tmp_path / "sent", sent[:, None])
    found, _ = read_sigmf(tmp_path / "a", reference=tmp_path / "sent")
    np.testing.assert_allclose(found.received[0, 0, 0], channel[0], atol=1e-5)
    recording(tmp_path / "sent", np.exp(2j * np.pi * frequency[3] * n / RATE)[:, None])
    with pytest.raises(InputError, match="sends nothing on some of its 12 subcarriers"):
        read_sigmf(tmp_path / "a", reference=tmp_path / "sent")
    with pytest.raises(InputError, match="one channel and 6 samples"):
        read_sigmf(tmp_path / "a", 6, tmp_path / "sent")


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c["global"].pop("core:datatype"), "core:datatype must be one of SigMF's"),
    (lambda c: c["global"].update({"core:datatype": "rf32_le"}), "no complex baseband"),
    (lambda c: c["global"].pop("core:sample_rate"), "core:sample_rate must be above zero, in Hz"),
    (lambda c: c["global"].update({"core:num_channels": 5}), "no whole samples of 5 channels"),
    (lambda c: c["global"].update({"core:sha512": "00"}), "core:sha512 differs"),
    (lambda c: c["global"].update({"core:metadata_only": True}), "states core:metadata_only"),
    (lambda c: c["captures"][0].update({"core:sample_start": -4}), "must count samples"),
    (lambda c: c["captures"][0].update({"core:sample_start": 99}), "beyond the 12 samples"),
    (lambda c: c["captures"][0].pop("core:frequency"), r"core:frequency \[Hz\]"),
    (lambda c: c["captures"][0].pop("spatial:aperture_azimuth"), "looks is not known"),
    (lambda c: c["captures"][0].pop("spatial:element_geometry"), "each of 6 channels; got 0"),
    (lambda c: c["captures"][0]["spatial:element_geometry"][2].update(point=[0.1, 0, 0]),
     "even grid across the boresight"),
    (lambda c: c["captures"][0].update({"spatial:aperture_azimuth": "north"}), "finite number"),
    (lambda c: c["captures"][0].update({"core:datetime": "noon"}), "must be ISO 8601"),
    (lambda c: c.update(captures=[]), "at least one object in captures"),
    (lambda c: c.pop("global"), "no metadata of SigMF"),
])  # fmt: skip
def test_every_damage_is_one_sentence(tmp_path, change, message):
    _, time = plane_wave(1.1, 1.4, 31e-9)
    content = recording(tmp_path / "a", time, **{
        "spatial:aperture_azimuth": 10.0, "spatial:element_geometry": geometry(np.arange(6)),
    })  # fmt: skip
    read_sigmf(tmp_path / "a")
    change(content)
    (tmp_path / "a.sigmf-meta").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_sigmf(tmp_path / "a")


def test_files_that_are_none_are_refused(samples, tmp_path):
    with pytest.raises(FileNotFoundError, match="metadata of a SigMF recording was needed"):
        read_sigmf(tmp_path / "a")
    with pytest.raises(InputError, match="an archive; unpack it by tar"):
        read_sigmf(tmp_path / "a.sigmf")
    meta, data = write_sigmf(samples, tmp_path / "a", CARRIER)
    data.write_bytes(data.read_bytes()[:-7])
    with pytest.raises(InputError, match="it is cut short"):
        read_sigmf(meta)
    meta.write_text("{")
    with pytest.raises(InputError, match="no metadata of SigMF"):
        read_sigmf(meta)
    with pytest.raises(InputError, match="carrier must be a frequency in Hz"):
        write_sigmf(samples, tmp_path / "b", 28.0)


def test_the_commands_go_there_and_back(samples, tmp_path, capsys):
    write_samples(samples, tmp_path / "a.npz")
    out = str(tmp_path / "b.sigmf-meta")
    words = ["samples", "export", str(tmp_path / "a.npz"), "--out", out, "--carrier", "28.1e9"]
    assert main(words) == 0
    assert main(["samples", "import", out, "--out", str(tmp_path / "c.npz")]) == 0
    assert "unit pulse" in capsys.readouterr().out
    again = read_samples(tmp_path / "c.npz")
    np.testing.assert_allclose(again.received, samples.received, rtol=0, atol=1e-14)
    assert main(words) == 0


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_recording_without_a_name_is_refused(name):
    for use in (read_sigmf, files_of):
        with pytest.raises(InputError, match="a recording needs a name, such as recording"):
            use(Path(name))
