"""Cross-sections: TR 38.901 by laws that its tables obey, exchange of ends, tables of one's own."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model.cross_section import tabulated_section
from echoscape.channel_model.target_types import TYPE_NAMES, target_type
from echoscape.checks import InputError

_TYPES = TYPE_NAMES[1:]


def directions(count):
    """Spread directions evenly over the sphere, poles left out."""
    k = np.arange(count) + 0.5
    up = 1 - 2 * k / count
    around = np.pi * (3 - np.sqrt(5)) * k
    flat = np.sqrt(1 - up**2)
    return jnp.asarray(np.stack([flat * np.cos(around), flat * np.sin(around), up], axis=1))


evaluate = jax.jit(lambda section, a, b: jax.vmap(section.section)(a, b))


@pytest.mark.parametrize("name", _TYPES)
def test_the_mean_over_all_directions_is_the_sigma_m_of_the_table(name):
    # sigma_M is "the mean of linear monostatic RCS"; rounding leaves 0.05 dB, and five points,
    # whose lobes overlap, more
    kind, every = target_type(name), directions(20000)
    total = sum(np.asarray(evaluate(s, every, every)) for s in kind.section)
    tolerance = {"vehicle-points": 0.4, "agv-points": 0.15}.get(name, 0.07)
    assert 10 * np.log10(total.mean()) == pytest.approx(kind.mean_db, abs=tolerance)


@pytest.mark.parametrize("name", [n for n in _TYPES if n not in ("uav-small", "human")])
def test_all_lobes_of_a_target_have_one_floor(name):
    lobes = np.concatenate([np.asarray(s.lobe) for s in target_type(name).section])
    lobes = lobes[lobes[:, 9] > lobes[:, 8]]  # without padding
    floor = lobes[:, 4] - lobes[:, 5]
    assert np.ptp(floor) <= 0.0201  # rounding of two numbers to 0.01 dB each
    if name.endswith("-points"):  # what one point has alone, five share
        alone = np.asarray(target_type(name.removesuffix("-points")).section[0].lobe)[0]
        assert floor.mean() + 10 * np.log10(5) == pytest.approx(alone[4] - alone[5], abs=0.02)


@pytest.mark.parametrize("name", _TYPES)
def test_exchanging_the_two_ends_changes_nothing(name):
    one, other = directions(200), directions(200)[::-1]
    for section in target_type(name).section:
        there, back = evaluate(section, one, other), evaluate(section, other, one)
        assert np.allclose(there, back, rtol=1e-12)
        assert np.all(np.asarray(there) > 0)


def test_a_lobe_peaks_at_its_centre_and_falls_3_db_at_half_its_width():
    side = target_type("vehicle").section[0]
    zenith = math.radians(79.70)

    def at(azimuth):
        u = [math.sin(zenith) * math.cos(azimuth), math.sin(zenith) * math.sin(azimuth)]
        u = jnp.array([*u, math.cos(zenith)])
        return 10 * math.log10(side.section(u, u))

    assert at(0.5 * math.pi) == pytest.approx(20.75, abs=1e-9)
    assert at(0.5 * math.pi + math.radians(26.90) / 2) == pytest.approx(17.75, abs=1e-9)
    assert at(math.pi) < 14.56  # the back, whose own peak is at another zenith


def test_model_1_falls_with_the_bistatic_angle_alone():
    section = target_type("human").section[0]
    for angle in (0.0, 0.7, 2.9):
        scattered = jnp.array([math.cos(angle), math.sin(angle), 0.0])
        found = 10 * math.log10(section.section(jnp.array([1.0, 0.0, 0.0]), scattered))
        assert found == pytest.approx(-1.37 - 3 * math.sin(angle / 2), abs=1e-9)


def test_a_bistatic_vehicle_falls_as_equation_7_9_2_3_has_it():
    # bisector at the left side's centre, 60 degrees between the rays
    zenith, half = math.radians(79.70), math.radians(30.0)
    middle = np.array([0.0, math.sin(zenith), math.cos(zenith)])
    across = np.array([1.0, 0.0, 0.0])
    ends = [jnp.asarray(math.cos(half) * middle + s * math.sin(half) * across) for s in (1, -1)]
    found = 10 * math.log10(target_type("vehicle").section[0].section(*ends))
    expected = 20.75 - 6 * math.sin(1.65 * half) + 5 * math.log10(math.cos(half))
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_table_is_met_on_its_grid_between_it_and_through_the_seam():
    azimuth, zenith = np.radians([-150.0, -30.0, 90.0]), np.radians([20.0, 100.0, 160.0])
    grid = np.array([[1.0, 2.0, 3.0], [4.0, 6.0, 5.0], [9.0, 8.0, 7.0]])
    across, up = (each.ravel() for each in np.meshgrid(azimuth, zenith, indexing="ij"))
    order = np.random.default_rng(1).permutation(9)
    table = tabulated_section(across[order], up[order], grid.ravel()[order])

    def at(a, z):
        a, z = math.radians(a), math.radians(z)
        u = jnp.array([math.sin(z) * math.cos(a), math.sin(z) * math.sin(a), math.cos(z)])
        return float(table.section(u, u))

    assert at(-30, 100) == pytest.approx(6.0, rel=1e-9)
    assert at(-90, 60) == pytest.approx((1 + 2 + 4 + 6) / 4, rel=1e-9)
    assert at(150, 100) == pytest.approx(0.5 * (8 + 2), rel=1e-9)  # half way from 90 to 210
    assert at(90, 175) == pytest.approx(7.0, rel=1e-9)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ([1.0, math.nan, 1.0, 1.0], r"cross_section must be finite .* got nan in row 2"),
        ([1.0, 1.0, 1.0], "every pair of at least two azimuths and two zeniths once; got 3 rows"),
    ],
)
def test_a_table_with_holes_is_refused(size, message):
    across, up = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.5, 1.0, 0.5, 1.0])
    with pytest.raises(InputError, match=message):
        tabulated_section(across[: len(size)], up[: len(size)], np.array(size))


def test_an_unknown_type_and_a_cross_section_of_zero_are_refused():
    with pytest.raises(InputError, match="no target type 'vehicel'; did you mean 'vehicle'"):
        target_type("vehicel")
    with pytest.raises(InputError, match=r"above zero, in m\^2; got 0"):
        target_type("constant", 0.0)
