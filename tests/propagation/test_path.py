"""The one type of multipath components: masks, derived delays, ranges, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.propagation import Paths, strongest
from tests.worlds.refusals import refused

C = 299_792_458.0  # [m/s]


def paths(**changes):
    rng = np.random.default_rng(4)
    values = {
        "departure_azimuth": rng.uniform(-3, 3, (2, 4)),
        "departure_zenith": rng.uniform(0.2, 3, (2, 4)),
        "length": rng.uniform(10, 300, (2, 4)),
        "valid": np.array([[True, True, True, False], [True, False, False, False]]),
        "power": rng.uniform(1e-12, 1e-9, (2, 4)),
        "arrival_azimuth": rng.uniform(-3, 3, (2, 4)),
        "length_std": rng.uniform(0.1, 1, (2, 4)),
    }
    return Paths(**{**values, **changes})


def test_delays_are_derived_from_lengths_and_not_written_to():
    made = paths()
    np.testing.assert_allclose(made.delay, made.length / C, rtol=1e-15)
    np.testing.assert_allclose(made.delay_std, made.length_std / C, rtol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        made.delay[0, 0] = 1.0
    again = Paths.from_delays(
        delay=made.delay, delay_std=made.delay_std, departure_azimuth=made.departure_azimuth,
        departure_zenith=made.departure_zenith,
    )  # fmt: skip
    np.testing.assert_allclose(again.length, made.length, rtol=5e-16)
    np.testing.assert_allclose(again.length_std, made.length_std, rtol=5e-16)


def test_the_mask_is_everything_or_what_is_possible_where_it_is_not_given():
    assert paths(valid=None).valid.all()
    predicted = paths(valid=None, probability=np.array([[0.5, 0.0, 1.0, 0.2], [0.0] * 4]))
    assert predicted.valid.tolist() == [[True, False, True, True], [False] * 4]


def test_power_is_that_of_the_gain_and_stays_so():
    gain = np.array([[3j, 1.0, 2.0, 5.0], [1 - 1j, 0.0, 0.0, 0.0]])
    made = paths(power=None, gain=jnp.asarray(gain))
    expected = np.where(made.valid, np.abs(gain) ** 2, 0.0)
    np.testing.assert_allclose(made.power, expected, rtol=1e-15)
    doubled = made.with_gain(2 * made.gain)
    np.testing.assert_allclose(doubled.power, 4 * expected, rtol=1e-15)


def test_the_strongest_come_first_and_padding_fills_up():
    made = jax.tree.map(jnp.asarray, paths())[0]
    kept = strongest(made, 5)
    order = np.argsort(-np.asarray(made.power)[:3])
    np.testing.assert_array_equal(kept.length[:3], made.length[:3][order])
    assert kept.valid.tolist() == [True, True, True, False, False]
    assert kept.covariance is None


def test_paths_pass_through_jit_vmap_and_grad():
    def total(length):
        made = Paths(
            departure_azimuth=length / 100, departure_zenith=length / 100, length=length,
            gain=length + 1j,
        )  # fmt: skip
        return jnp.sum(made.power * made.delay)

    length = jnp.array([[1.0, 2.0], [4.0, 8.0]])
    expected = np.sum((np.asarray(length) ** 2 + 1) * np.asarray(length), axis=1) / C
    np.testing.assert_allclose(jax.jit(jax.vmap(total))(length), expected, rtol=1e-12)
    slope = jax.grad(total)(length[0])
    np.testing.assert_allclose(slope, (3 * np.asarray(length[0]) ** 2 + 1) / C, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"departure_azimuth": np.full((2, 4), 40.0)},
            r"departure_azimuth must lie between -pi and pi \[rad\], but set 0, path 0 has 40; "
            r"if these are degrees, multiply them by pi/180",
        ),
        (
            {"arrival_azimuth": np.full((2, 4), 4.0)},
            r"arrival_azimuth must lie between .*; subtract 2 pi from those above pi",
        ),
        (
            {"departure_zenith": np.full((2, 4), -0.2)},
            r"departure_zenith must lie between 0 \(up\) and pi \[rad\].*elevations above the",
        ),
        ({"length": np.full((2, 4), -1.0)}, r"length must not be negative \[m\]"),
        ({"length": np.full((2, 4), 1e6)}, r"length must stay below 3e\+05 \[m\].*in metres"),
        ({"length": np.full((2, 4), np.nan)}, r"length must be a number \[m\], .* has nan"),
        ({"length": np.full((2, 4), np.inf)}, r"length must be a number \[m\], .* has inf"),
        ({"power": np.full((2, 4), -90.0)}, r"power must not be negative .*if these are decibels"),
        ({"length_std": np.full((2, 4), -0.1)}, r"length_std must not be negative \[m\]"),
        ({"length_std": np.full((2, 4), 1e5)}, r"length_std must be at most 3e\+03, or infinite"),
        (
            {"departure_azimuth_std": np.full((2, 4), 5.0)},
            r"departure_azimuth_std must be at most 3.14, or infinite \[rad\].*degrees",
        ),
        ({"power": np.ones((4, 2))}, r"one entry for each path: .* but power has \(4, 2\)"),
    ],
)
def test_values_of_another_unit_are_refused_with_the_cure(changes, sentence):
    with refused(sentence):
        paths(**changes)


def test_padding_is_not_looked_at_and_infinite_deviations_mean_not_measured():
    made = paths()
    length = np.where(made.valid, made.length, np.nan)
    paths(length=length, length_std=np.where(made.valid, np.inf, np.nan))
