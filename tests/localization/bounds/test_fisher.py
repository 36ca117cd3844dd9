"""The bound: every echo's own Jacobian by brute force, closed forms, and what is not observed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap, ExtrapolatedMap, PathPrior
from echoscape.checks import InputError
from echoscape.localization.bounds.fisher import join_bounds, map_bound

C = 299_792_458.0  # [m/s]
STATION = np.array([12.0, -7.0, 9.0])
POINT = np.array([[40.0, 33.0, 6.0], [-18.0, 21.0, 4.0], [25.0, 60.0, 3.0], [70.0, -30.0, 5.0]])
PLACE = np.array([[21.0, 37.0, 1.5], [-6.0, 44.0, 1.5], [33.3, 8.0, 2.5]])
ANGLE_STD, DELAY_STD = 0.05, 5e-9


class Scatterers(ChannelMap):
    """Paths off point scatterers, and straight on through a wall that turns and shifts space."""

    point: Float[np.ndarray, "scatterer 3"]
    covariance: Float[np.ndarray, "3 3"]
    probability: Float[np.ndarray, " slot"]
    station_position: Float[np.ndarray, "3"]
    report_position: Float[np.ndarray, "report 3"]
    station: str = eqx.field(static=True, default="roof")

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Give one slot for each scatterer and one for the wall, shuffled from place to place."""
        leg = self.point - self.station_position[None]
        back = jnp.linalg.norm(position[None] - self.point, axis=-1)
        mirrored = position * jnp.array([-1.0, 1.0, 1.0]) + jnp.array([150.0, 0.0, 0.0])
        straight = (mirrored - self.station_position)[None]
        seen = jnp.concatenate([leg, straight])
        length = jnp.linalg.norm(seen, axis=-1)
        total = length + jnp.concatenate([back, jnp.zeros(1)])
        slots = len(self.probability)
        return PathPrior(
            probability=jnp.asarray(self.probability),
            departure_azimuth=jnp.arctan2(seen[:, 1], seen[:, 0]),
            departure_zenith=jnp.arccos(seen[:, 2] / length),
            length=total,
            covariance=jnp.tile(jnp.asarray(self.covariance), (slots, 1, 1)),
            power=jnp.ones(slots),
        )

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Claim to know every place."""
        return np.zeros(len(position))


def world(covariance=(0.0, 0.0, 0.0), probability=(0.9, 0.2, 0.8, 0.5, 0.95), point=POINT):
    return Scatterers(
        point=np.asarray(point),
        covariance=np.diag(covariance),
        probability=np.array(probability),
        station_position=STATION,
        report_position=np.zeros((1, 3)),
    )


def every_echo(channel_map, place, slots, pairs):
    """Stack what every echo measures, each with its own independent error."""

    def measure(level):
        prior = channel_map(jnp.concatenate([level, place[2:]]))
        rows = []
        for i in slots:
            for j in slots if pairs == "all" else (i,):
                for name in ("departure_azimuth", "departure_zenith"):
                    rows += [getattr(prior, name)[i] / ANGLE_STD]
                    rows += [getattr(prior, name)[j] / ANGLE_STD]
                rows += [(prior.delay[i] + prior.delay[j]) / DELAY_STD]
        return jnp.stack(rows)

    slope = np.asarray(jax.jacfwd(measure)(jnp.asarray(place[:2])))
    return np.linalg.inv(slope.T @ slope)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["all", "reciprocal"])
def test_the_bound_is_that_of_every_single_echo(pairs):
    channel_map = world()
    found = map_bound(channel_map, PLACE, angle_std=ANGLE_STD, delay_std=DELAY_STD, pairs=pairs)
    for place, covariance in zip(PLACE, found.covariance, strict=True):
        expected = every_echo(channel_map, place, [0, 2, 3, 4], pairs)  # 1 is too improbable
        np.testing.assert_allclose(covariance, expected, rtol=1e-9)
    assert found.paths.tolist() == [4, 4, 4]
    np.testing.assert_allclose(
        found.root_trace, np.sqrt([np.trace(each) for each in found.covariance])
    )


def test_only_the_most_probable_paths_are_taken():
    channel_map = world()
    found = map_bound(channel_map, PLACE, angle_std=ANGLE_STD, delay_std=DELAY_STD, strongest=2)
    expected = every_echo(channel_map, PLACE[1], [0, 4], "all")
    np.testing.assert_allclose(found.covariance[1], expected, rtol=1e-9)


def test_the_maps_own_error_is_shared_by_all_echoes_of_a_path():
    # One path through the wall, length only known by the map's error: echoes cannot average it.
    own = np.array([2e-3, 3e-3, 3.0])
    channel_map = world(own**2, (0.0, 0.0, 0.0, 0.0, 1.0))
    found = map_bound(channel_map, PLACE[:1], angle_std=1e-6, delay_std=1e-13)

    def measure(level):
        prior = channel_map(jnp.concatenate([level, PLACE[0, 2:]]))
        names = ("departure_azimuth", "departure_zenith", "length")
        return jnp.stack([getattr(prior, name)[4] for name in names]) / own

    slope = np.asarray(jax.jacfwd(measure)(jnp.asarray(PLACE[0, :2])))
    np.testing.assert_allclose(found.covariance[0], np.linalg.inv(slope.T @ slope), rtol=1e-5)


def test_one_scatterer_leaves_a_direction_unobserved():
    channel_map = world(probability=(0.9, 0.1, 0.1, 0.1, 0.1))
    found = map_bound(channel_map, PLACE, angle_std=ANGLE_STD, delay_std=DELAY_STD)
    assert not found.observed.any()
    assert np.isinf(found.root_trace).all()
    assert not np.isnan(found.covariance).any()


def test_two_stations_with_one_scatterer_each_observe_a_target_together():
    alone = [
        map_bound(world(probability=p), PLACE, angle_std=ANGLE_STD, delay_std=DELAY_STD)
        for p in ((0.9, 0.1, 0.1, 0.1, 0.1), (0.1, 0.9, 0.1, 0.1, 0.1))
    ]
    together = join_bounds(alone)
    assert together.observed.all()
    assert together.paths.tolist() == [2, 2, 2]
    away = (PLACE[0] - POINT[:2])[:, :2] / np.linalg.norm(PLACE[0] - POINT[:2], axis=1)[:, None]
    expected = np.linalg.inv(away.T @ away) * (C * DELAY_STD / 2) ** 2
    np.testing.assert_allclose(together.covariance[0], expected, rtol=1e-9)


def test_all_pairs_tell_more_than_reciprocal_ones():
    all_pairs, reciprocal = (
        map_bound(world(), PLACE, angle_std=ANGLE_STD, delay_std=DELAY_STD, pairs=pairs)
        for pairs in ("all", "reciprocal")
    )
    assert (all_pairs.root_trace < reciprocal.root_trace).all()


def test_a_carried_map_has_no_bound():
    carried = ExtrapolatedMap.__new__(ExtrapolatedMap)
    with pytest.raises(InputError, match="a carried map has no bound"):
        map_bound(carried, PLACE, angle_std=0.1, delay_std=1e-9)


def test_a_deviation_must_be_above_zero():
    with pytest.raises(ValueError, match="delay_std must be finite and above zero, in s; got -1"):
        map_bound(world(), PLACE, angle_std=0.1, delay_std=-1.0)
