"""Places straight from samples: the grid's score, the bound, several targets, two stations."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.localization import Direct, FixStatus, PreparedMaps, localize, prepare
from echoscape.localization.direct.bound import sample_bound
from echoscape.localization.direct.grid import FINER, score_cells
from echoscape.localization.direct.likelihood import descend, fit_echoes
from echoscape.numerics.harmonics import synthesize
from echoscape.propagation import scatter, square_world, strongest
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform, echo_channel
from echoscape.studies.nlos_ckm.point_world import equal_echoes, exact_map

WAVEFORM = Waveform(48, 100e6 / 192)  # a quarter of the band: cells of 3 m, quick
METHOD = Direct(paths=3, reach=3.0, starts=3)


@pytest.fixture(scope="module")
def world():
    site = square_world(jax.random.key(5), elements=6, scatterers=5)
    channel_map = exact_map(site, 3)
    place = np.random.default_rng(2).uniform(5.0, 95.0, (6, 2))
    place = np.concatenate([place, np.zeros((6, 1))], axis=1)
    made, truth = equal_echoes(site, WAVEFORM, place, listed=3, snr_db=25.0, key=jax.random.key(3))
    return site, channel_map, place, made, truth, prepare(channel_map, made, method=METHOD).grid


def _locate(samples, grid, **fields):
    return localize(samples, PreparedMaps(METHOD.model_copy(update=fields), grid))


@pytest.mark.slow
def test_a_cells_score_is_the_likelihood_with_the_gains_integrated_out(world):
    _, _, _, made, _, search = world
    view, noise = search.views[0], jnp.asarray([made.noise()])
    samples = jnp.asarray(made.received[0])
    score = np.asarray(score_cells([samples], search.features, [view.mix], noise))
    for cell in (11, 200, 703):
        place = search.cells[cell]
        held = view.select(place)
        frequency = held.frequencies(place, jnp.zeros(view.errors))
        cycles = FINER * WAVEFORM.subcarriers / (2 * np.pi)  # the grid looks up whole steps
        frequency = frequency.at[:, -1].set(jnp.round(frequency[:, -1] * cycles) / cycles)
        tensor = view.tensor.fold(samples)
        fit = fit_echoes(tensor, frequency, held.present, held.mix, noise[0], jnp.asarray(10.0))
        # The marginal likelihood with every covariance written out, in all samples.
        one = jnp.ones(1, complex)
        atoms = np.stack([synthesize(w[None], one, tensor.shape).ravel() for w in frequency])
        long = np.asarray(held.mix).T @ atoms
        long = long * np.asarray(jnp.any(held.mix.T * held.present[None] > 0, axis=1))[:, None]
        data = np.asarray(tensor).ravel()
        prior = 10.0 * float(noise[0]) / data.size  # mean power of a gain
        small = long.conj() @ long.T / float(noise[0]) + np.eye(len(long)) / prior
        heard = long.conj() @ data / float(noise[0])
        value = np.real(heard.conj() @ np.linalg.solve(small, heard))
        value -= np.linalg.slogdet(prior * small)[1]
        assert float(fit.value) == pytest.approx(value, rel=1e-9, abs=1e-7)
        # single precision, and a condition of the overlap of at most a hundred
        assert score[cell] == pytest.approx(value, rel=1e-3, abs=0.05)


@pytest.mark.slow
def test_the_gradient_is_that_of_finite_differences(world):
    _, _, place, made, _, search = world
    view = search.views[0]
    held, tensor = (
        view.select(jnp.asarray(place[1])),
        view.tensor.fold(jnp.asarray(made.received[1])),
    )
    where, miss = jnp.asarray(place[1] + [0.4, -0.3, 0.0]), 0.1 * jnp.arange(view.errors)

    @jax.jit
    def value(point):
        return descend(
            tensor, held, point[:3], point[3:], jnp.asarray(made.noise()), jnp.asarray(9.0)
        )

    point = jnp.concatenate([where, miss])
    _, gradient, curvature = value(point)
    for axis in (0, 1, 4):
        step = 1e-5 * jnp.eye(len(point))[axis]
        slope = (value(point + step)[0] - value(point - step)[0]) / 2e-5
        assert float(gradient[axis]) == pytest.approx(float(slope), rel=1e-4, abs=1e-4)
    assert np.linalg.eigvalsh(curvature).min() > -1e-6 * np.abs(curvature).max()


@pytest.mark.slow
def test_targets_are_placed_as_well_as_the_samples_allow(world):
    _, _, place, made, truth, search = world
    fix = _locate(made, search)
    error = np.linalg.norm((fix.best - place)[:, :2], axis=1)
    allowed = [
        sample_bound(search.views[0], jnp.asarray(where), jnp.asarray(gain), made.noise())
        for where, (gain, _) in zip(place, truth)
    ]
    bound = np.sqrt(np.trace(np.asarray(allowed), axis1=1, axis2=2))
    # six errors in the plane: their mean square over the bound is within a factor of 4 of one
    assert 0.2 < np.sqrt(np.mean((error / bound) ** 2)) < 2.0
    assert (fix.status == FixStatus.LOCATED).all()
    claimed = np.sqrt(np.trace(fix.covariance[:, 0, :2, :2], axis1=1, axis2=2))
    np.testing.assert_allclose(claimed, bound, rtol=0.3)
    np.testing.assert_array_equal(fix.target, np.arange(6))


@pytest.mark.slow
def test_noise_alone_is_no_target(world):
    *_, made, _, search = world
    real, imaginary = np.random.default_rng(8).standard_normal((2, *made.received[:2].shape))
    noise = np.sqrt(made.noise() / 2) * (real + 1j * imaginary)
    silent = EchoSnapshots(
        received=noise, target=np.array([4, 9]), time=np.zeros(2), waveform=WAVEFORM,
        transmit=made.transmit, receive=made.receive, transmit_station="bs", receive_station="bs",
        noise_variance=made.noise(),
    )  # fmt: skip
    assert (_locate(silent, search).status == FixStatus.NO_ECHO).all()
    assert len(_locate(silent, search, targets=2).target) == 0


@pytest.mark.slow
def test_several_targets_in_one_snapshot_are_found_one_after_the_other(world):
    _, _, place, made, _, search = world
    both = EchoSnapshots(
        received=made.received[:1] + made.received[3:4], target=np.array([1]), time=np.zeros(1),
        waveform=WAVEFORM, transmit=made.transmit, receive=made.receive, transmit_station="bs",
        receive_station="bs", noise_variance=2 * made.noise(),
    )  # fmt: skip
    fix = _locate(both, search, targets=2)
    assert len(fix.target) == 2
    apart = np.linalg.norm(fix.best[:, None, :2] - place[None, [0, 3], :2], axis=-1)
    # Both send all their echoes by the same angles, over a quarter of the band: taking them off in
    # turns leaves errors of a part of the resolved length, 12 m; the targets are 23 m apart.
    assert apart.min(axis=0).max() < 12.0
    assert apart.argmin(axis=0)[0] != apart.argmin(axis=0)[1]


@pytest.mark.slow
def test_maps_and_samples_that_do_not_fit_are_refused(world):
    site, channel_map, place, made, _, search = world
    with pytest.raises(
        InputError, match="samples are of station 'bs', but the map knows only roof"
    ):
        localize(made, {"roof": channel_map})
    coarse, _ = equal_echoes(site, Waveform(8, 4e6), place[:1], listed=3, snr_db=9.0,
                             key=jax.random.key(0))  # fmt: skip
    with pytest.raises(InputError, match="delays repeat after 250 ns"):
        localize(coarse, channel_map, method=METHOD)
    with pytest.raises(InputError, match=r"cells of 0\.01 m"):
        localize(made, channel_map, method=METHOD.model_copy(update={"cell": 0.01}))
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Direct(targets=0)
    assert math.isfinite(search.step)


@pytest.mark.slow
def test_a_pair_of_stations_is_one_more_look_at_the_same_places(world):
    site, channel_map, place, made, _, _ = world
    other = dataclasses.replace(
        site, station=("west",), station_position=jnp.array([[0.0, 60.0, 0.0]]),
        array=(PlanarArray(columns=5, azimuth=0.2),),
    )  # fmt: skip
    received = []
    for number, where in enumerate(place):
        out, back = (
            strongest(scatter(each, jnp.asarray(where), with_line_of_sight=False), 3)
            for each in (site, other)
        )
        out, back = (
            eqx.tree_at(lambda p: p.gain, each, jnp.ones_like(each.gain)) for each in (out, back)
        )
        turn = jax.random.uniform(jax.random.key(number), (3, 3), float)
        received.append(np.asarray(echo_channel(
            out, back, site.array[0], other.array[0], WAVEFORM,
            reflection=jnp.exp(2j * jnp.pi * turn),
        )))  # fmt: skip
    real, imaginary = np.random.default_rng(4).standard_normal((2, 6, 5, 6, 48))
    noise = 5 * 6 * 48 / 10**2.5
    pair = EchoSnapshots(
        received=np.stack(received) + np.sqrt(noise / 2) * (real + 1j * imaginary),
        target=np.arange(6), time=np.zeros(6), waveform=WAVEFORM, transmit=site.array[0],
        receive=other.array[0], transmit_station="bs", receive_station="west",
        noise_variance=noise,
    )  # fmt: skip
    maps = {"bs": channel_map, "west": exact_map(other, 3)}
    alone = localize(pair, maps, method=METHOD)
    error = np.linalg.norm((alone.best - place)[:, :2], axis=1)
    claimed = np.sqrt(np.trace(alone.covariance[:, 0, :2, :2], axis1=1, axis2=2))
    assert np.sqrt(np.mean((error / claimed) ** 2)) < 2.0  # as for a single station
    both = localize([made, pair], maps, method=METHOD)
    error = np.linalg.norm((both.best - place)[:, :2], axis=1)
    joint = np.sqrt(np.trace(both.covariance[:, 0, :2, :2], axis1=1, axis2=2))
    assert np.sqrt(np.mean((error / joint) ** 2)) < 2.0
    assert np.all(joint < claimed)  # adding a look never hurts
    two = dataclasses.replace(
        pair, received=pair.received[:2], target=np.arange(2), time=np.zeros(2)
    )
    with pytest.raises(InputError, match="need the same snapshots"):
        localize([made, two], maps, method=METHOD)
