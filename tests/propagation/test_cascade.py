"""The cascade: swapped pairs, a brute-force twin, and the lossless one-way statistics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.propagation import one_way_statistics, scatter, square_world, strongest, two_way

L = 4
TARGET = 9.0  # what the target multiplies power with; amplitudes thrice


@pytest.fixture
def paths(key):
    return strongest(scatter(square_world(key), jnp.array([62.0, 37.0, 0.0])), L)


def test_echoes_are_all_ordered_pairs_as_two_loops_make_them(paths):
    echoes = two_way(paths, target=TARGET)
    for i in range(L):
        for j in range(L):
            k = i * L + j
            assert echoes.identity[k] == k
            assert np.isclose(echoes.length[k], paths.length[i] + paths.length[j], rtol=1e-15)
            assert np.isclose(echoes.gain[k], 3.0 * paths.gain[i] * paths.gain[j], rtol=1e-14)
            assert echoes.departure_azimuth[k] == paths.departure_azimuth[i]
            assert echoes.departure_zenith[k] == paths.departure_zenith[i]
            assert echoes.arrival_azimuth[k] == paths.departure_azimuth[j]
            assert echoes.arrival_zenith[k] == paths.departure_zenith[j]
            assert echoes.bounces[k] == paths.bounces[i] + paths.bounces[j] + 1
            assert np.array_equal(echoes.first_bounce[k], paths.first_bounce[i])
            assert np.array_equal(echoes.last_bounce[k], paths.first_bounce[j])


def test_swapping_a_pair_keeps_the_delay_and_swaps_the_angles(paths):
    echoes = two_way(paths, target=TARGET)
    swap = np.arange(L * L).reshape(L, L).T.ravel()
    assert np.array_equal(echoes.delay[swap], echoes.delay)
    assert np.array_equal(echoes.departure_azimuth[swap], echoes.arrival_azimuth)
    assert not np.allclose(echoes.departure_azimuth, echoes.arrival_azimuth)
    assert np.allclose(echoes.gain[swap], echoes.gain, rtol=1e-15)


def test_reciprocal_echoes_are_the_diagonal(paths):
    diagonal = jax.tree.map(lambda leaf: leaf[:: L + 1], two_way(paths, target=TARGET))
    same = jax.tree.map(np.array_equal, two_way(paths, target=TARGET, reciprocal=True), diagonal)
    assert all(jax.tree.leaves(same))


def test_a_pair_with_padding_is_padding(paths):
    padded = strongest(paths, L + 1)
    valid = two_way(padded, target=TARGET).valid.reshape(L + 1, L + 1)
    assert np.array_equal(valid, np.outer(padded.valid, padded.valid))


def noisy_echoes(key, paths, angle_std=0.05, delay_std=5e-9):
    echoes = two_way(paths, target=TARGET)
    shape = (5, L, L)
    noise = jax.random.normal(key, shape) * jnp.array(
        [angle_std, angle_std, angle_std, angle_std, delay_std]
    ).reshape(5, 1, 1)
    fields = ["departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "delay"]
    return [getattr(echoes, field).reshape(L, L) + noise[k] for k, field in enumerate(fields)]


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0, 5])
def test_one_way_statistics_lose_nothing_of_the_likelihood(key, paths, missing):
    angle_std, delay_std = 0.05, 5e-9
    phi, phi_zenith, theta, theta_zenith, delay = noisy_echoes(key, paths)
    drop = jax.random.permutation(key, L * L)[:missing]
    present = jnp.ones(L * L, bool).at[drop].set(False).reshape(L, L)
    one_way = one_way_statistics((phi, phi_zenith), (theta, theta_zenith), delay, present)

    def of_echoes(azimuth, zenith, tau):  # Eq. (40), map variance zero
        angles = (phi - azimuth[:, None]) ** 2 + (phi_zenith - zenith[:, None]) ** 2
        angles += (theta - azimuth[None]) ** 2 + (theta_zenith - zenith[None]) ** 2
        delays = (delay - tau[:, None] - tau[None]) ** 2
        return -0.5 * jnp.sum(present * (angles / angle_std**2 + delays / delay_std**2))

    def of_statistics(azimuth, zenith, tau):
        angles = (one_way.departure_azimuth - azimuth) ** 2
        angles += (one_way.departure_zenith - zenith) ** 2
        off = one_way.length - tau
        delays = off @ one_way.length_precision @ off
        return -0.5 * (jnp.sum(one_way.looks * angles) / angle_std**2 + delays / delay_std**2)

    assert one_way.looks.sum() == 2 * (L * L - missing)
    step = jax.random.normal(key, (50, 3, L)) * jnp.array([0.1, 0.1, 1e-8])[None, :, None]
    moved = jnp.stack([paths.departure_azimuth, paths.departure_zenith, paths.delay])[None] + step
    # The mean over the circle differs from the plain one by third order in 0.05 rad: replace it,
    # the identity is then exact.
    plain = (present * phi).sum(1) + (present * theta).sum(0)
    one_way = eqx.tree_at(lambda each: each.departure_azimuth, one_way, plain / one_way.looks)
    gap = [of_echoes(*each) - of_statistics(*each) for each in moved]
    size = max(abs(of_echoes(*each)) for each in moved)
    assert np.ptp(gap) < 5e-13 * size
    assert size > 100


def test_the_circular_mean_is_the_plain_one_for_small_errors_and_right_across_the_cut(key, paths):
    phi, phi_zenith, theta, theta_zenith, delay = noisy_echoes(key, paths)
    present = jnp.ones((L, L), bool)
    mean = one_way_statistics((phi, phi_zenith), (theta, theta_zenith), delay, present)
    plain = (phi.sum(1) + theta.sum(0)) / (2 * L)
    assert np.allclose(mean.departure_azimuth, plain, atol=0.05**3)
    turn = np.pi - paths.departure_azimuth[0]  # the first path now lies on the cut
    wrapped = [jnp.angle(jnp.exp(1j * (angle + turn))) for angle in (phi, theta)]
    across = one_way_statistics(
        (wrapped[0], phi_zenith), (wrapped[1], theta_zenith), delay, present
    )
    turned = np.exp(1j * (mean.departure_azimuth + turn))
    assert np.allclose(np.exp(1j * across.departure_azimuth), turned, atol=1e-12)


def test_the_closed_form_of_the_full_set_comes_out(key, paths):
    *_, delay = noisy_echoes(key, paths)
    zero = jnp.zeros((L, L))
    one_way = one_way_statistics((zero, zero), (zero, zero), delay, jnp.ones((L, L), bool))
    r = np.asarray(delay.sum(1) + delay.sum(0))
    assert np.allclose(one_way.length, (r - r.sum() / (2 * L)) / (2 * L), rtol=1e-12)
    covariance = (np.eye(L) - 1 / (2 * L)) / (2 * L)
    assert np.allclose(np.linalg.inv(one_way.length_precision), covariance, atol=1e-14)


def test_paths_without_echoes_and_open_combinations_stay_finite_and_consistent(paths):
    exact = two_way(paths, target=TARGET).delay.reshape(L, L)
    zero = jnp.zeros((L, L))
    # 0 and 1 only paired with one another: their difference is open.  2 with itself.  3 unseen.
    present = jnp.zeros((L, L), bool).at[0, 1].set(True).at[1, 0].set(True).at[2, 2].set(True)
    one_way = one_way_statistics((zero, zero), (zero, zero), exact, present)
    assert one_way.looks.tolist() == [2.0, 2.0, 2.0, 0.0]
    assert np.isclose(one_way.length[0] + one_way.length[1], exact[0, 1], rtol=1e-12)
    assert np.isclose(one_way.length[2], paths.delay[2], rtol=1e-12)
    assert one_way.length[3] == 0.0
    assert np.linalg.matrix_rank(one_way.length_precision) == 2
