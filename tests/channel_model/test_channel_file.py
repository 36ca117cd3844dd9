"""Files of channels: read back by the programs they are for, where those are installed."""

import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from echoscape.channel_model import ChannelRealization, spreads
from echoscape.channel_model.channel_file import read_channel, write_channel
from echoscape.channel_model.spread import azimuth_deviation
from echoscape.checks import InputError


def channel(times=3, squint=False):
    """Unequal numbers of everything, and no symmetry."""
    rng = np.random.default_rng(5)
    coefficient = rng.normal(size=(times, 2, 4, 5, 2)) @ np.array([1.0, 1j])
    delay = 1e-6 * rng.random((times, 5))
    time = jnp.arange(times) / 250.0
    late = None
    if squint:
        late = jnp.asarray(delay[:, None, None] + 1e-9 * rng.random(coefficient.shape))
    return ChannelRealization(jnp.asarray(coefficient), jnp.asarray(delay), time, 28e9, late)


@pytest.mark.parametrize("squint", [False, True])
def test_quadriga_reads_what_was_written(tmp_path, squint):
    times = 3
    pytest.importorskip("h5py")
    library = pytest.importorskip("quadriga_lib")
    made, station = channel(times, squint), np.array([1.5, -2.0, 9.0])
    user = np.random.default_rng(1).normal(size=(times, 3))
    write_channel(made, tmp_path / "a.hdf5", station=station, user=user)
    found = library.channel.hdf5_read_channel(str(tmp_path / "a.hdf5"))
    while not isinstance(found, dict):  # nested once for each dimension of the file
        found = found[0]
    assert found["name"] == "echoscape"
    assert len(found["coeff"]) == times
    for k in range(times):  # single precision
        assert np.allclose(found["coeff"][k], made.coefficient[k], rtol=1e-6, atol=1e-7)
        late = made.element_delay[k] if squint else made.delay[k][None, None]
        assert np.allclose(np.asarray(found["delay"][k]).reshape(late.shape), late, rtol=1e-6)
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
    with pytest.raises(InputError, match=r"must end in \.npz, \.mat or \.hdf5"):
        write_channel(channel(), tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"must end in \.npz, \.mat or \.hdf5"):
        read_channel(tmp_path / "a.txt")


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (1, 1, 1, 1), (4, 1, 3, 1), (1, 2, 1, 6)])
def test_what_was_written_is_read_back_bit_by_bit(tmp_path, suffix, shape):
    rng = np.random.default_rng(6)
    times, _, _, paths = shape
    coefficient = rng.normal(size=(*shape, 2)) @ np.array([1.0, 1j])
    delay, time = 1e-6 * rng.random((times, paths)), rng.random(times)
    made = ChannelRealization(*map(jnp.asarray, (coefficient, delay, time)), 28.000001e9)
    write_channel(made, tmp_path / f"a{suffix}")
    found = read_channel(tmp_path / f"a{suffix}")
    for name in ("coefficient", "delay", "time"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name), strict=True)
    assert found.carrier_frequency == made.carrier_frequency


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".hdf5"])
def test_delays_of_every_pair_of_antennas_are_kept(tmp_path, suffix):
    if suffix == ".hdf5":
        pytest.importorskip("h5py")
    made = channel(squint=True)
    write_channel(made, tmp_path / f"a{suffix}")
    found = read_channel(tmp_path / f"a{suffix}")
    exact = suffix != ".hdf5"  # which has single precision
    assert np.allclose(found.element_delay, made.element_delay, rtol=0 if exact else 1e-6, atol=0)
    assert np.allclose(found.coefficient, made.coefficient, rtol=1e-6)
    if exact:
        source = np.load(tmp_path / "a.npz") if suffix == ".npz" else loadmat(tmp_path / "a.mat")
        assert np.array_equal(source["tau"][0, :, 0], made.element_delay[0])


def test_matlab_sees_the_arrays_of_cir(tmp_path):
    made = channel()
    write_channel(made, tmp_path / "a.mat")
    found = loadmat(tmp_path / "a.mat")
    assert found["a"].shape == (1, 2, 1, 4, 5, 3)
    assert found["tau"].shape == (1, 1, 5)
    np.testing.assert_array_equal(found["a"][0, 1, 0, 3, 2], made.coefficient[:, 1, 3, 2])
    found["delay"] = found["delay"][:2]
    savemat(tmp_path / "b.mat", {n: v for n, v in found.items() if not n.startswith("__")})
    with pytest.raises(InputError, match="do not fit 2 by 4 antennas and 3 times"):
        read_channel(tmp_path / "b.mat")


def test_a_channel_of_quadriga_is_read_back_in_single_precision(tmp_path):
    pytest.importorskip("h5py")
    made = channel()
    write_channel(made, tmp_path / "a.hdf5")
    found = read_channel(tmp_path / "a.hdf5")
    np.testing.assert_allclose(found.coefficient, made.coefficient, rtol=1e-6)
    np.testing.assert_allclose(found.delay, made.delay, rtol=1e-6)
    (tmp_path / "b.hdf5").write_bytes((tmp_path / "a.hdf5").read_bytes()[:900])
    with pytest.raises(InputError, match="is no HDF5 file of a channel"):
        read_channel(tmp_path / "b.hdf5")


def test_one_time_alone_is_refused_as_hdf5(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(InputError, match="needs at least two times"):
        write_channel(channel(1), tmp_path / "a.hdf5")
