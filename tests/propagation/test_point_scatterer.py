"""Free space and point scatterers: the radar equation, a slow twin, and the inverse of a path."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.propagation import (
    jitter_scatterers,
    line_of_sight,
    path_amplitude,
    radar_gain,
    scatter,
    scattered_amplitude,
    square_world,
    strongest,
)
from echoscape.scene import PlanarArray, Site

C = 299_792_458.0  # [m/s]


@pytest.fixture
def site():
    return Site(
        carrier_frequency=28e9,
        bandwidth=4e8,
        station=("south", "roof"),
        station_position=jnp.array([[50.0, 0.0, 1.5], [-12.0, 33.0, 10.0]]),
        array=(PlanarArray(), PlanarArray()),
        bounds=jnp.array([[0.0, 0.0, 0.0], [100.0, 100.0, 30.0]]),
        scatterer_position=jnp.array([[31.0, 80.0, 4.0], [70.0, 21.0, 9.0], [3.0, 44.0, 0.5]]),
        scatterer_cross_section=jnp.array([10.0, 0.3, 2.0]),
    )


POSITION = jnp.array([62.0, 37.0, 1.2])


def test_free_space_gain_is_that_of_friis():
    # 61.4 dB over 1 m at 28 GHz: 20 log10(4 pi / wavelength).
    wavelength = C / 28e9
    loss = -20 * np.log10(path_amplitude(jnp.asarray(1.0), wavelength))
    assert np.isclose(loss, 61.39, atol=0.01)
    assert np.isclose(path_amplitude(jnp.asarray(0.0), wavelength), 1 / (4 * np.pi), rtol=1e-14)


def test_two_way_gain_is_the_radar_equation():
    wavelength, sigma, near, far = 0.0107, 3.0, 40.0, 70.0
    monostatic = wavelength**2 * sigma / ((4 * np.pi) ** 3 * near**4)
    bistatic = wavelength**2 * sigma / ((4 * np.pi) ** 3 * near**2 * far**2)
    near, far, sigma = jnp.asarray(near), jnp.asarray(far), jnp.asarray(sigma)
    assert np.isclose(radar_gain(near, sigma, wavelength), monostatic, rtol=1e-13)
    amplitude = scattered_amplitude(near, far, sigma, wavelength)
    assert np.isclose(amplitude**2, bistatic, rtol=1e-13)


@pytest.mark.parametrize("station", [0, 1])
def test_paths_equal_those_of_a_slow_twin_written_with_numpy(site, station):
    paths = scatter(site, POSITION, station=station)
    start, user = np.asarray(site.station_position[station]), np.asarray(POSITION)
    wavelength = C / 28e9
    for k, point in enumerate([None, *np.asarray(site.scatterer_position)]):
        first, last = (user, start) if point is None else (point, point)
        length = np.linalg.norm(user - start)
        amplitude = wavelength / (4 * np.pi * length)
        if point is not None:
            out, back = np.linalg.norm(point - start), np.linalg.norm(user - point)
            length = out + back
            sigma = float(site.scatterer_cross_section[k - 1])
            amplitude = np.sqrt(wavelength**2 * sigma / (4 * np.pi) ** 3) / (out * back)
        assert np.isclose(paths.delay[k], length / C, rtol=1e-14)
        assert np.isclose(
            paths.gain[k], amplitude * np.exp(-2j * np.pi * 28e9 * length / C), rtol=1e-9
        )
        ray, look = first - start, last - user
        assert np.isclose(paths.departure_azimuth[k], np.arctan2(ray[1], ray[0]), rtol=1e-13)
        assert np.isclose(
            paths.departure_zenith[k], np.arccos(ray[2] / np.linalg.norm(ray)), rtol=1e-12
        )
        assert np.isclose(paths.arrival_azimuth[k], np.arctan2(look[1], look[0]), rtol=1e-13)
        assert np.isclose(
            paths.arrival_zenith[k], np.arccos(look[2] / np.linalg.norm(look)), rtol=1e-12
        )
        assert np.array_equal(paths.first_bounce[k], first)
        assert np.array_equal(paths.last_bounce[k], last)
    assert paths.bounces.tolist() == [0, 1, 1, 1]
    assert paths.identity.tolist() == [-1, 0, 1, 2]
    assert paths.valid.all()


def test_without_line_of_sight_only_the_bounces_remain(site):
    full = scatter(site, POSITION)
    bounced = scatter(site, POSITION, with_line_of_sight=False)
    assert eqx.tree_equal(full[1:], bounced)
    assert eqx.tree_equal(full[:1], line_of_sight(site, POSITION))


def test_a_single_bounce_inverts_to_its_scatterer(site):
    paths = scatter(site, POSITION, planar=True, with_line_of_sight=False)
    assert np.allclose(paths.departure_zenith, np.pi / 2, atol=1e-15)
    start, user = site.station_position[0, :2], POSITION[:2]
    for k, point in enumerate(site.scatterer_position[:, :2]):
        total = C * paths.delay[k]
        angle = paths.departure_azimuth[k]
        ahead = jnp.array([jnp.cos(angle), jnp.sin(angle)])
        between = user - start
        r = (total**2 - between @ between) / (2 * (total - ahead @ between))
        assert np.allclose(start + r * ahead, point, atol=1e-10)


def test_reversing_the_ends_keeps_delay_and_gain_and_swaps_the_angles(site):
    forward = scatter(site, POSITION, with_line_of_sight=False)
    turned = eqx.tree_at(lambda site: site.station_position, site, jnp.stack([POSITION, POSITION]))
    back = scatter(turned, site.station_position[0], with_line_of_sight=False)
    assert np.allclose(back.delay, forward.delay, rtol=1e-15)
    assert np.allclose(back.gain, forward.gain, rtol=1e-9)
    assert np.allclose(back.departure_azimuth, forward.arrival_azimuth, rtol=1e-14)
    assert np.allclose(back.arrival_zenith, forward.departure_zenith, rtol=1e-14)


@pytest.mark.slow
def test_the_delay_gradient_points_from_the_scatterer_and_the_angles_do_not_move(site):
    def of(position):
        paths = scatter(site, position, with_line_of_sight=False)
        return paths.delay, paths.departure_azimuth, paths.departure_zenith

    delay, azimuth, zenith = jax.jacfwd(of)(POSITION)
    ray = np.asarray(POSITION) - np.asarray(site.scatterer_position)
    assert np.allclose(delay, ray / np.linalg.norm(ray, axis=1)[:, None] / C, rtol=1e-12)
    assert not np.any(azimuth)
    assert not np.any(zenith)


@pytest.mark.slow
def test_standing_on_a_scatterer_or_on_the_station_stays_finite(site):
    for position in (site.scatterer_position[1], site.station_position[0]):
        value, slope = jax.jvp(lambda x: scatter(site, x), (position,), (jnp.ones(3),))
        for leaf in jax.tree.leaves((value, slope)):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                assert np.all(np.isfinite(leaf))


def test_the_strongest_come_first_and_short_sets_are_padded(site):
    paths = scatter(site, POSITION)
    order = np.argsort(-np.abs(np.asarray(paths.gain)))
    kept = strongest(paths, 2)
    assert np.array_equal(kept.identity, paths.identity[order[:2]])
    assert np.all(np.diff(strongest(paths, 4).power) < 0)
    more = strongest(paths, 6)
    assert more.valid.tolist() == [True] * 4 + [False] * 2
    assert more.power[4:].tolist() == [0.0, 0.0]
    hidden = eqx.tree_at(
        lambda paths: paths.valid, paths, paths.identity != paths.identity[order[0]]
    )
    assert strongest(hidden, 3).identity.tolist() == paths.identity[order[1:]].tolist()


@pytest.mark.slow
def test_the_square_is_the_papers_and_jitter_moves_scatterers_by_its_deviation(key):
    world = square_world(key, scatterers=15)
    assert world.scatterer_position.shape == (15, 3)
    assert np.all(
        (world.scatterer_position >= world.bounds[:1])
        & (world.scatterer_position <= world.bounds[1:])
    )
    assert np.array_equal(world.station_position, [[50.0, 0.0, 0.0]])
    keys = jax.random.split(key, 400)
    moved = jax.vmap(lambda key: jitter_scatterers(world, 0.3, key=key).scatterer_position)(keys)
    offset = np.asarray(moved - world.scatterer_position[None])
    assert not np.any(offset[..., 2])
    # 12,000 draws: the deviation is known to 0.0019 m, taken 4 times.
    assert np.isclose(offset[..., :2].std(), 0.3, atol=0.008)
    assert np.isclose(offset[..., :2].mean(), 0.0, atol=0.011)
    users = jax.random.uniform(key, (400, 3), maxval=100.0)
    paths = jax.vmap(lambda key, user: scatter(jitter_scatterers(world, 0.3, key=key), user))(
        keys, users
    )
    assert paths.delay.shape == (400, 16)
