"""Files of channels: read back by the programs they are for, where those are installed."""

import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import ChannelRealization, spreads
from echoscape.channel_model.channel_file import write_channel
from echoscape.channel_model.spread import azimuth_deviation
from echoscape.checks import InputError


def channel(times=3):
    """Unequal numbers of everything, and no symmetry."""
    rng = np.random.default_rng(5)
    coefficient = rng.normal(size=(times, 2, 4, 5, 2)) @ np.array([1.0, 1j])
    delay = 1e-6 * rng.random((times, 5))
    time = jnp.arange(times) / 250.0
    return ChannelRealization(jnp.asarray(coefficient), jnp.asarray(delay), time, 28e9)


def test_quadriga_reads_what_was_written(tmp_path):
    times = 3
    pytest.importorskip("h5py")
    library = pytest.importorskip("quadriga_lib")
    made, station = channel(times), np.array([1.5, -2.0, 9.0])
    user = np.random.default_rng(1).normal(size=(times, 3))
    write_channel(made, tmp_path / "a.hdf5", station=station, user=user)
    found = library.channel.hdf5_read_channel(str(tmp_path / "a.hdf5"))
    while not isinstance(found, dict):  # nested once for each dimension of the file
        found = found[0]
    assert found["name"] == "echoscape"
    assert len(found["coeff"]) == times
    for k in range(times):  # single precision
        assert np.allclose(found["coeff"][k], made.coefficient[k], rtol=1e-6, atol=1e-7)
        assert np.allclose(np.ravel(found["delay"][k]), made.delay[k], rtol=1e-6)
    assert np.allclose(found["rx_position"], user.T, atol=1e-6)
    assert np.allclose(np.ravel(found["tx_position"]), station)
    assert np.ravel(found["center_frequency"])[0] == pytest.approx(28e9, rel=1e-6)


def test_spreads_are_those_of_quadriga():
    tools = pytest.importorskip("quadriga_lib").tools
    rng = np.random.default_rng(2)
    power, delay = rng.random(7), 1e-6 * rng.random(7)
    azimuth, zenith = rng.uniform(-3, 3, 7), rng.uniform(1.2, 1.9, 7)
    values = (jnp.asarray(x) for x in (power, delay, azimuth, zenith, azimuth, zenith))
    found = spreads(*values)
    theirs = np.ravel(tools.calc_delay_spread([delay], [power])[0])[0]
    assert found.delay == pytest.approx(theirs, rel=1e-9)
    across, up, *_ = tools.calc_angular_spread([azimuth], [0.5 * np.pi - zenith], [power])
    assert found.arrival_zenith == pytest.approx(np.ravel(up)[0], rel=1e-6)
    ours = azimuth_deviation(jnp.asarray(power), jnp.asarray(azimuth))
    assert ours == pytest.approx(np.ravel(across)[0], rel=1e-6)


def test_without_h5py_one_sentence_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'echoscape\[hdf5\]'"):
        write_channel(channel(), tmp_path / "a.hdf5")
    assert not (tmp_path / "a.hdf5").exists()


def test_a_name_that_tells_no_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.npz or \.hdf5"):
        write_channel(channel(), tmp_path / "a.mat")


def test_one_time_alone_is_refused_as_hdf5(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(InputError, match="needs at least two times"):
        write_channel(channel(1), tmp_path / "a.hdf5")
