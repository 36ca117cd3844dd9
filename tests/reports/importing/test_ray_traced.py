"""Adapters: what a ray tracer wrote is what the reports hold, in our units and kinds of angle."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.reports import reports_from_ray_traced, reports_from_sionna, summarize_reports
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds import ray_traced

TABLE = {
    "pos": np.array([[10.0, 20.0, 1.5], [11.0, 25.0, 1.5], [-30.0, 7.0, 1.2]], dtype=np.float32),
    "bs_pos": np.array([1.0, 2.0, 10.0]),
    "offset": np.array([0, 3, 3, 5], dtype=np.int32),
    "a_re": np.array([3e-6, 1e-6, 6e-6, -2e-6, 1e-7]),
    "a_im": np.array([4e-6, 0.0, 8e-6, 0.0, 0.0]),
    "tau_ns": np.array([100.0, 250.0, 90.0, 130.0, 400.0]),
    "aod": np.array([0.1, -3.0, 2.0, 1.0, 0.5]),
    "eod": np.array([-0.3, 0.2, 0.0, -1.2, 0.4]),
    "aoa": np.array([0.4, 3.1, -2.0, 0.0, 0.2]),
    "eoa": np.array([0.3, -0.2, 0.1, 1.2, 0.0]),
}


def test_flat_tables_become_reports_with_the_strongest_first():
    reports = reports_from_ray_traced(TABLE, users=[2, 0, 1], strongest=2, station="roof")
    assert reports.report.tolist() == [2, 0, 1]
    assert reports.station == ("roof",)
    np.testing.assert_allclose(reports.position[0], [-30, 7, 1.2], rtol=1e-6)
    paths = reports.estimates
    assert paths.valid.tolist() == [[True, True], [True, True], [False, False]]
    np.testing.assert_allclose(paths.power[1], [1e-10, 2.5e-11])
    np.testing.assert_allclose(paths.delay[1], [90e-9, 100e-9])
    np.testing.assert_allclose(paths.departure_azimuth[1], [2.0, 0.1])
    np.testing.assert_allclose(paths.departure_zenith[1], [math.pi / 2, math.pi / 2 + 0.3])
    np.testing.assert_allclose(paths.arrival_zenith[1], [math.pi / 2 - 0.1, math.pi / 2 - 0.3])
    assert not any(leaf[2].any() for leaf in (paths.delay, paths.departure_zenith, paths.power))


def test_what_was_traced_obeys_the_geometry_of_line_of_sight(tmp_path):
    np.savez(tmp_path / "traced.npz", **ray_traced.tables())
    sees = ray_traced.in_sight()
    reports = reports_from_ray_traced(tmp_path / "traced.npz", users=np.arange(len(sees)))
    offset = reports.position - reports.station_position[0]
    first = np.argmin(np.where(reports.estimates.valid, reports.estimates.delay, 1), axis=1)
    at = (np.flatnonzero(sees), first[sees])
    offset, distance = offset[sees], np.linalg.norm(offset[sees], axis=1)
    np.testing.assert_allclose(reports.estimates.delay[at] * SPEED_OF_LIGHT, distance, atol=2e-3)
    zenith = np.arccos(offset[:, 2] / distance)
    np.testing.assert_allclose(reports.estimates.departure_zenith[at], zenith, atol=1e-4)
    np.testing.assert_allclose(reports.estimates.arrival_zenith[at], math.pi - zenith, atol=1e-4)
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    np.testing.assert_allclose(reports.estimates.departure_azimuth[at], azimuth, atol=1e-4)
    assert summarize_reports(reports).warnings == ()


def test_another_layout_is_refused(tmp_path):
    table = {("delay_ns" if name == "tau_ns" else name): v for name, v in TABLE.items()}
    with pytest.raises(InputError, match=r"has no array 'tau_ns'"):
        reports_from_ray_traced(table)
    with pytest.raises(InputError, match=r"users must lie between 0 and 2"):
        reports_from_ray_traced(TABLE, users=[3])
    with pytest.raises(InputError, match=r"strongest must be at least 1"):
        reports_from_ray_traced(TABLE, strongest=0)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*u\.npz"):
        reports_from_ray_traced(tmp_path / "u.npz")
    (tmp_path / "u.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"u\.npz cannot be read as npz"):
        reports_from_ray_traced(tmp_path / "u.npz")


RECEIVERS, TRANSMITTERS, PATHS = 3, 2, 4


def sionna_paths(rng, synthetic, receive=(2, 2), transmit=(1, 3)):
    """Imitate `sionna.rt.Paths`; arrays have (polarisations, elements)."""
    link = (RECEIVERS, TRANSMITTERS, PATHS)
    full = (RECEIVERS, *receive, TRANSMITTERS, *transmit, PATHS)
    fused = (RECEIVERS, math.prod(receive), TRANSMITTERS, math.prod(transmit), PATHS)
    valid = rng.random(link) < 0.7
    truth = {
        "theta_t": rng.uniform(0, np.pi, link),
        "phi_t": rng.uniform(-np.pi, np.pi, link),
        "theta_r": rng.uniform(0, np.pi, link),
        "phi_r": rng.uniform(-np.pi, np.pi, link),
        "tau": np.where(valid, rng.uniform(1e-7, 1e-6, link), -1.0),
        "valid": valid,
    }
    a = rng.normal(size=(2, *full)) * 1e-5 * valid[None, :, None, None, :, None, None]
    paths = SimpleNamespace(num_rx=RECEIVERS, num_tx=TRANSMITTERS)
    centre_rx = rng.uniform(-50, 50, (3, RECEIVERS))
    centre_tx = rng.uniform(-50, 50, (3, TRANSMITTERS))
    if synthetic:
        paths.sources, paths.targets = centre_tx, centre_rx
        vars(paths).update(truth)
        truth["power"] = (a**2).sum(0).mean(axis=(2, 5)).sum(1).mean(2)
        for end, (patterns, elements) in (("rx", receive), ("tx", transmit)):
            array = SimpleNamespace(num_ant=patterns * elements, array_size=elements)
            setattr(paths, f"{end}_array", array)
    else:
        paths.sources = np.repeat(centre_tx, transmit[1], axis=1)
        paths.targets = np.repeat(centre_rx, receive[1], axis=1)
        shape = np.zeros(full)
        for name, values in truth.items():
            wide = np.array(values[:, None, None, :, None, None] + shape)
            wide = wide.astype(bool) if name == "valid" else wide
            if name != "valid":  # other elements list their paths in another order
                wide[:, :, 1:] = np.roll(wide[:, :, 1:], 1, axis=-1)
            setattr(paths, name, wide.reshape(fused))
        truth["power"] = (a**2).sum(0)[:, :, 0, :, :, 0].sum(1).mean(2)
    paths.a = tuple(a.reshape(2, *fused))
    return paths, truth, centre_rx.T, centre_tx.T


@pytest.mark.filterwarnings(
    "ignore:.*shorter than the straight line:UserWarning"
)  # drawn at random
@pytest.mark.parametrize("synthetic", [True, False])
def test_sionna_paths_become_reports(synthetic):
    paths, truth, receiver, transmitter = sionna_paths(np.random.default_rng(3), synthetic)
    reports = reports_from_sionna(paths, strongest=3, station=["north", "south"])
    assert reports.report.tolist() == [0, 0, 1, 1, 2, 2]
    assert reports.station_index.tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(reports.position, np.repeat(receiver, 2, axis=0))
    np.testing.assert_array_equal(reports.station_position, transmitter)
    names = {
        "departure_azimuth": "phi_t",
        "departure_zenith": "theta_t",
        "arrival_azimuth": "phi_r",
        "arrival_zenith": "theta_r",
        "delay": "tau",
        "power": "power",
    }
    for k in range(6):
        link = divmod(k, 2)
        found = np.flatnonzero(truth["valid"][link])
        order = found[np.argsort(-truth["power"][link][found])][:3]
        assert reports.estimates.valid[k].sum() == len(order)
        for ours, theirs in names.items():
            mine = getattr(reports.estimates, ours)[k][: len(order)]
            np.testing.assert_allclose(mine, truth[theirs][link][order], rtol=1e-12)


def test_sionna_without_any_path_gives_outages():
    none = np.zeros((1, 2, 0))
    paths = SimpleNamespace(num_rx=1, num_tx=2, sources=np.zeros((3, 2)), targets=np.ones((3, 1)))
    for name in ("tau", "theta_t", "phi_t", "theta_r", "phi_r"):
        setattr(paths, name, none)
    paths.valid = none.astype(bool)
    paths.a = (np.zeros((1, 1, 2, 1, 0)),) * 2
    reports = reports_from_sionna(paths)
    assert reports.station == ("tx-0", "tx-1")
    assert reports.estimates.valid.tolist() == [[False], [False]]
    with pytest.raises(InputError, match=r"3 names of stations came for 2 transmitters"):
        reports_from_sionna(paths, station=["a", "b", "c"])
