"""Evaluation: a map that is the world itself, one that is off by a known amount, a blind one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap, NearestReports, PathPrior, fit_map
from echoscape.channel_map.evaluation import evaluate, predict, spatial_split
from echoscape.units import wrap_angle
from tests.worlds.mirrors import LOSS, SEQUENCES, STATION, street_reports, users

C = 299_792_458.0  # [m/s]


class Mirrors(ChannelMap):
    """The street itself, with every path off by a known amount."""

    shift: Float[np.ndarray, "3"]
    probability: Float[np.ndarray, " slot"]
    station_position: Float[np.ndarray, "3"]
    report_position: Float[np.ndarray, "report 3"]
    station: str = eqx.field(static=True, default="roof")

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Give a slot for each sequence of walls."""
        turn = jnp.stack([each[0] for each in SEQUENCES])
        offset = jnp.stack([each[1] for each in SEQUENCES])
        seen = (
            jnp.einsum("sij,j->si", turn, position)
            + offset
            - jnp.asarray(self.station_position)[None]
        )
        length = jnp.linalg.norm(seen, axis=-1)
        return PathPrior(
            probability=jnp.asarray(self.probability),
            departure_azimuth=wrap_angle(jnp.arctan2(seen[:, 1], seen[:, 0]) + self.shift[0]),
            departure_zenith=jnp.arccos(seen[:, 2] / length) + self.shift[1],
            length=length + C * self.shift[2],
            covariance=jnp.tile(jnp.diag(jnp.array([1e-4, 1e-4, 0.09])), (len(LOSS), 1, 1)),
            power=jnp.asarray(LOSS) / length**2,
        )

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Claim to know every place."""
        return np.zeros(len(position))


def mirrors(shift=(0.0, 0.0, 0.0), probability=(1.0,) * 6):
    return Mirrors(
        shift=np.array(shift),
        probability=np.array(probability),
        station_position=STATION,
        report_position=np.zeros((1, 3)),
    )


def test_errors_are_the_known_shift_across_the_wrap_of_azimuth():
    reports = street_reports(60, paths=6)
    found = evaluate(mirrors((0.02, -0.01, 3e-9)), reports, strongest=6)
    assert (found.reports, found.paths, found.explained) == (60, 360, 1.0)
    for name, value in (("azimuth", 0.02), ("zenith", 0.01), ("delay", 3e-9)):
        assert getattr(found, f"{name}_rms") == pytest.approx(value, rel=1e-6)
        assert getattr(found, f"{name}_median") == pytest.approx(value, rel=1e-6)
    assert found.inside_90 == 0.0  # 2, 1 and 3 claimed deviations: 14 > 6.25
    assert evaluate(mirrors((0.02, -0.01, 1e-10)), reports).inside_90 == 1.0


def test_a_turn_of_everything_across_the_wrap_changes_no_error():
    reports = street_reports(60, paths=6)
    azimuth = np.asarray(reports.estimates.departure_azimuth)
    turn = np.pi - np.median(azimuth)  # half of the paths go beyond the wrap
    turned = eqx.tree_at(
        lambda r: r.estimates.departure_azimuth, reports, np.angle(np.exp(1j * (azimuth + turn)))
    )
    assert np.ptp(turned.estimates.departure_azimuth) > 6.0
    found = evaluate(mirrors((turn + 0.02, 0.0, 0.0)), turned, strongest=6)
    assert found.azimuth_rms == pytest.approx(0.02, rel=1e-6)


def test_what_a_report_states_of_its_errors_widens_the_ellipsoid():
    reports = street_reports(60, paths=6)
    less_sure = eqx.tree_at(
        lambda r: r.estimates.departure_azimuth_std,
        reports,
        np.full_like(reports.estimates.departure_azimuth, 0.02),
    )
    shifted = mirrors((0.03, 0.0, 0.0))  # 9 > 6.25 of the map's own; 9e-4 / (1e-4 + 4e-4) = 1.8
    assert evaluate(shifted, reports).inside_90 == 0.0
    assert evaluate(shifted, less_sure).inside_90 == 1.0


def test_presence_costs_what_was_promised_wrongly():
    reports = street_reports(40, paths=5)  # five of six paths are listed
    found = evaluate(mirrors(probability=(0.8,) * 6), reports)
    assert found.explained == 1.0
    assert found.log_loss == pytest.approx(-5 * np.log(0.8) - np.log(0.2))
    assert found.brier == pytest.approx(5 * 0.04 + 0.64)


def test_a_path_explains_one_reported_path_only():
    reports = street_reports(30, paths=3)
    doubled = jax.tree.map(lambda leaf: np.repeat(leaf, 2, axis=1), reports.estimates)
    twice = eqx.tree_at(lambda item: item.estimates, reports, doubled)
    assert evaluate(mirrors(), twice, strongest=6).explained == pytest.approx(0.5, abs=0.05)


def test_a_blind_map_explains_nothing():
    found = evaluate(mirrors((2.0, 0.0, 1e-6)), street_reports(20))
    assert found.explained == 0.0
    assert (found.azimuth_rms, found.delay_median, found.inside_90) == (None, None, None)


def test_held_out_blocks_are_whole_and_a_fitted_map_predicts_them():
    reports = street_reports(500, paths=6)
    held = spatial_split(reports.position, 0.2, 5.0, seed=1)
    assert 0.15 < held.mean() <= 0.2
    block = np.floor(reports.position[:, :2] / 5.0).astype(int)
    inside = {tuple(each) for each in block[held]}
    assert not inside & {tuple(each) for each in block[~held]}
    assert (held == spatial_split(reports.position, 0.2, 5.0, seed=1)).all()
    learnt = jax.tree.map(lambda leaf: leaf[~held] if leaf.shape[0] == len(held) else leaf, reports)
    found = evaluate(fit_map(learnt, NearestReports()), jax.tree.map(
        lambda leaf: leaf[held] if leaf.shape[0] == len(held) else leaf, reports
    ))  # fmt: skip
    assert found.explained > 0.9
    assert found.delay_median is not None
    assert found.delay_median < 1e-9


def test_predictions_of_many_places_are_those_of_each():
    place = users(7)
    together = predict(mirrors(), place)
    one = mirrors()(jnp.asarray(place[4]))
    np.testing.assert_allclose(together.delay[4], one.delay, rtol=1e-12)
