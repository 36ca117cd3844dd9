"""Echoes from reports: a slow twin, statistics of the errors, and what is never dropped."""

import equinox as eqx
import jax
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.estimation import (
    LinkBudget,
    delay_deviation,
    direction_deviation,
    echo_power,
    integrated_snr,
)
from echoscape.propagation import Paths
from echoscape.reports import Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.signals.echo_channel import point_reflection
from echoscape.units import SPEED_OF_LIGHT

CAR = 4 * np.pi * 10.0 * (28e9 / 299_792_458.0) ** 2  # ten square metres at 28 GHz
VALUES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "delay")


def some_reports(count=6, paths=7, seed=3):
    """Random reports, deliberately not in falling power, one of them an outage."""
    draw = np.random.default_rng(seed)
    shape = (count, paths)
    valid = draw.random(shape) < 0.8
    valid[2] = False
    hide = lambda values: np.where(valid, values, 0.0)  # noqa: E731
    exact = np.zeros(shape)
    estimates = Paths.from_delays(
        departure_azimuth=hide(draw.uniform(-np.pi, np.pi, shape)),
        departure_zenith=hide(draw.uniform(1.2, 2.2, shape)),
        arrival_azimuth=hide(draw.uniform(-np.pi, np.pi, shape)),
        arrival_zenith=hide(draw.uniform(1.2, 2.2, shape)),
        delay=hide(draw.uniform(1e-7, 1e-6, shape)),
        power=hide(10 ** draw.uniform(-14.5, -10.0, shape)),
        departure_azimuth_std=exact,
        departure_zenith_std=exact,
        arrival_azimuth_std=exact,
        arrival_zenith_std=exact,
        delay_std=exact,
        valid=valid,
    )
    return Reports(
        estimates=estimates,
        position=draw.uniform(0, 100, (count, 3)),
        position_std=np.zeros(count),
        time=np.arange(count) + 0.5,
        report=np.arange(count) + 40,
        station_index=np.zeros(count, dtype=np.int64),
        station_position=np.array([[50.0, 0.0, 10.0]]),
        station=("bs",),
    )


def expected_pairs(reports, target, strongest, reciprocal=False):
    estimates = reports.estimates
    ranked = sorted(
        np.flatnonzero(estimates.valid[target]), key=lambda k: -estimates.power[target, k]
    )
    kept = ranked[:strongest]
    return [(i, j) for i in kept for j in kept if i == j or not reciprocal]


def rows_of(echoes, target):
    """One (angles, delay, power) tuple for each valid echo, sorted."""
    estimates = echoes.estimates
    table = np.stack([getattr(estimates, name)[target] for name in (*VALUES, "power")], axis=-1)
    table = table[estimates.valid[target]]
    return in_order(table)


def in_order(table):
    """Sort by both azimuths, rounded so that tiny errors do not decide."""
    return table[np.lexsort(np.round(table[:, [2, 0]], 9).T)]


@pytest.mark.parametrize("pairs", ["all", "reciprocal"])
def test_without_errors_the_echoes_are_the_pairs_two_loops_make(key, pairs):
    reports = some_reports()
    made = make_echoes(reports, key, angle_std=1e-13, delay_std=1e-22, strongest=4, pairs=pairs)
    for target in range(6):
        wanted = expected_pairs(reports, target, 4, pairs == "reciprocal")
        e = reports.estimates
        table = [
            (
                e.departure_azimuth[target, i],
                e.departure_zenith[target, i],
                e.departure_azimuth[target, j],
                e.departure_zenith[target, j],
                e.delay[target, i] + e.delay[target, j],
                CAR * e.power[target, i] * e.power[target, j],
            )
            for i, j in wanted
        ]
        table = np.array(table).reshape(-1, 6)
        table = in_order(table)
        assert np.allclose(rows_of(made.echoes, target), table, rtol=1e-11, atol=0)
        assert made.possible[target] == made.detectable[target] == len(wanted)
    assert made.echoes.target.tolist() == reports.report.tolist()
    assert made.echoes.time.tolist() == reports.time.tolist()
    assert not made.echoes.estimates.valid[2].any()


def test_a_straight_echo_obeys_the_radar_equation(key):
    distance, section, carrier = 43.0, 2.5, 6e9
    wavelength = 299_792_458.0 / carrier
    reports = Reports.from_arrays(
        position=[[distance, 0.0, 0.0]], station_position=(0.0, 0.0, 0.0),
        departure_azimuth=[[0.0]], departure_zenith=[[np.pi / 2]], length=[[distance]],
        power=[[(wavelength / (4 * np.pi * distance)) ** 2]],
    )  # fmt: skip
    made = make_echoes(
        reports, key, angle_std=0.01, delay_std=1e-9, cross_section=section,
        carrier_frequency=carrier,
    )  # fmt: skip
    expected = wavelength**2 * section / ((4 * np.pi) ** 3 * distance**4)
    assert made.echoes.estimates.power[0, 0] == pytest.approx(expected, rel=1e-12)


def test_the_budget_hears_what_is_above_the_threshold_and_states_its_errors(key):
    reports, budget = some_reports(), LinkBudget(threshold_db=20.0, receive_columns=4)
    made = make_echoes(reports, key, budget=budget, strongest=5)
    e, estimates = reports.estimates, made.echoes.estimates
    heard = 0
    for target in range(6):
        wanted = []
        for i, j in expected_pairs(reports, target, 5):
            out, back = e.power[target, i], e.power[target, j]
            snr = integrated_snr(budget, echo_power(budget, out, back))
            if snr < 100.0:
                continue
            departure = direction_deviation(
                budget,
                snr,
                e.departure_azimuth[target, i],
                e.departure_zenith[target, i],
                rows=8,
                columns=8,
            )
            arrival = direction_deviation(
                budget,
                snr,
                e.departure_azimuth[target, j],
                e.departure_zenith[target, j],
                rows=8,
                columns=4,
            )
            power = budget.target_gain * out * back
            wanted.append([*departure, *arrival, delay_deviation(budget, snr), power])
        names = [f"{name}_std" for name in VALUES] + ["power"]
        got = np.stack([getattr(estimates, name)[target] for name in names], axis=-1)
        got = got[estimates.valid[target]]
        wanted = np.array(wanted, dtype=float).reshape(-1, 6)
        # Sorted by power and, where (i, j) and (j, i) share it, by the departure's deviation.
        sort = lambda table: table[np.lexsort((table[:, 0], np.round(np.log(table[:, 5]), 9)))]  # noqa: E731
        assert np.allclose(sort(got), sort(wanted), rtol=1e-9)
        assert made.detectable[target] == len(wanted)
        heard += len(wanted)
    assert 0 < heard < made.possible.sum()


def test_errors_have_the_stated_deviation_and_angles_stay_in_range(key):
    reports = some_reports(count=800, seed=8)
    exact = make_echoes(reports, key, angle_std=1e-12, delay_std=1e-20)
    noisy = make_echoes(reports, key, angle_std=0.3, delay_std=5e-9)
    valid = noisy.echoes.estimates.valid
    assert np.array_equal(valid, exact.echoes.estimates.valid)  # the same order: the same key
    assert np.all(noisy.echoes.estimates.departure_azimuth_std[valid] == 0.3)
    count = valid.sum()
    assert count > 10_000
    for name, std in [
        ("departure_azimuth", 0.3),
        ("arrival_azimuth", 0.3),
        ("delay", 5e-9),
        ("departure_zenith", 0.3),
        ("arrival_zenith", 0.3),
    ]:
        values = getattr(noisy.echoes.estimates, name)[valid]
        error = values - getattr(exact.echoes.estimates, name)[valid]
        if name.endswith("azimuth"):
            assert np.all((values > -np.pi) & (values <= np.pi))
            error = np.angle(np.exp(1j * error))
        # k = 4 standard errors; clipping at pi touches three zeniths in a thousand.
        assert np.isclose(error.std(), std, rtol=4 / np.sqrt(2 * count) + 0.005)
        assert abs(error.mean()) < 4 * std / np.sqrt(count) + 0.002 * std
        if name.endswith("zenith"):
            assert np.all((values >= 0) & (values <= np.pi))


def test_one_key_one_answer_and_another_key_another(key):
    reports = some_reports()
    make = lambda key: make_echoes(  # noqa: E731
        reports, key, budget=LinkBudget(fluctuating=True), missed=0.2, false=0.3
    )
    assert eqx.tree_equal(make(key), make(key))
    assert not eqx.tree_equal(make(key), make(jax.random.split(key)[0]))


def test_order_within_a_set_tells_nothing(key):
    reports = some_reports(count=300, seed=5)
    made = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9)
    full = made.echoes.estimates.valid.all(axis=1)
    first = made.echoes.estimates.power[full]
    rank = np.argsort(np.argsort(-first, axis=1, kind="stable"), axis=1)[:, 0]
    # Uniform over 25 ranks: mean 12, standard error 7.2 / sqrt(n).
    assert abs(rank.mean() - 12) < 4 * 7.3 / np.sqrt(full.sum())


def test_missed_and_false_echoes_come_at_their_rates(key):
    reports = some_reports(count=800, seed=8)
    all_of_them = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9).possible.sum()
    thinned = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9, missed=0.15)
    share = thinned.echoes.estimates.valid.sum() / all_of_them
    assert np.isclose(share, 0.85, atol=4 * np.sqrt(0.15 * 0.85 / all_of_them))
    dirty = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9, false=0.1)
    valid = dirty.echoes.estimates.valid
    assert np.isclose(valid.sum() / all_of_them, 1.1, atol=4 * np.sqrt(0.1 / all_of_them))
    assert not valid[2].any()
    assert np.all(dirty.echoes.estimates.power[valid] > 0)
    nothing = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9, missed=1.0)
    assert nothing.echoes.estimates.valid.shape == (800, 1)
    assert not nothing.echoes.estimates.valid.any()
    assert nothing.detectable.sum() == all_of_them


def test_a_fluctuating_target_shows_both_ways_of_a_pair_the_same_cross_section(key):
    reports = some_reports(count=400, seed=9)
    budget = LinkBudget(fluctuating=True, threshold_db=-200.0)
    made = make_echoes(reports, key, budget=budget, strongest=2)
    steady = make_echoes(
        reports, key, budget=budget.model_copy(update={"fluctuating": False}), strongest=2
    )
    ratios = []
    for target in np.flatnonzero(made.possible == 4):
        powers = np.sort(made.echoes.estimates.power[target][made.echoes.estimates.valid[target]])
        gap = np.diff(np.log(powers))
        assert np.sum(gap < 1e-9) == 1
        ratios.append(powers.sum() / steady.echoes.estimates.power[target].sum())
    assert np.std(ratios) > 0.3
    # Exponential with mean one; the strongest pair dominates.
    assert np.isclose(np.mean(ratios), 1.0, atol=4 / np.sqrt(len(ratios)))


def test_what_was_not_measured_stays_unmeasured(key):
    reports = some_reports()
    unknown = np.where(reports.estimates.valid, np.inf, 0.0)
    reports = eqx.tree_at(lambda reports: reports.estimates.departure_zenith_std, reports, unknown)
    made = make_echoes(reports, key, angle_std=0.05, delay_std=5e-9, false=0.5)
    estimates = made.echoes.estimates
    for end in ("departure", "arrival"):
        assert np.all(np.isinf(getattr(estimates, f"{end}_zenith_std")[estimates.valid]))
        assert not np.any(getattr(estimates, f"{end}_zenith"))
        assert np.all(getattr(estimates, f"{end}_azimuth_std")[estimates.valid] == 0.05)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"without a link budget both angle_std \[rad\] and delay_std \[s\] are needed"),
        ({"angle_std": 0.1}, r"without a link budget both"),
        (
            {"budget": LinkBudget(), "angle_std": 0.1},
            "a link budget or fixed deviations .* not both",
        ),
        (
            {"angle_std": -0.1, "delay_std": 1e-9},
            "angle_std must be .* above zero, in rad; got -0.1",
        ),
        ({"angle_std": 0.1, "delay_std": np.nan}, "delay_std must be .* above zero, in s; got nan"),
        (
            {"angle_std": 0.1, "delay_std": 1e-9, "cross_section": -1.0},
            r"cross_section must be finite and above zero, in m\^2; got -1",
        ),
        (
            {"budget": LinkBudget(), "carrier_frequency": 3e9},
            "a link budget states the cross-section and the carrier",
        ),
        ({"budget": LinkBudget(), "strongest": 0}, "strongest must be at least 1 path; got 0"),
        (
            {"budget": LinkBudget(), "missed": 1.5},
            "missed must be a share between 0 and 1; got 1.5",
        ),
        ({"budget": LinkBudget(), "false": -1.0}, "false must be a number of echoes .*; got -1.0"),
    ],
)
def test_options_that_contradict_are_refused(key, options, sentence):
    with pytest.raises(InputError, match=sentence):
        make_echoes(some_reports(), key, **options)


def test_an_echo_of_straight_legs_obeys_the_bistatic_radar_equation(key):
    carrier, section = 28e9, 10.0
    wavelength = SPEED_OF_LIGHT / carrier
    sender, target, listener = (
        np.array(place) for place in ([-3.0, 41.0, 9.5], [22.0, 7.0, 1.4], [60.0, -13.0, 12.0])
    )
    near, far = np.linalg.norm(target - sender), np.linalg.norm(target - listener)
    equation = section * wavelength**2 / ((4 * np.pi) ** 3 * near**2 * far**2)

    def leg(place, name):
        away = target - place
        length = np.linalg.norm(away)
        return Reports.from_arrays(
            position=target[None],
            station_position=place,
            station=name,
            departure_azimuth=np.arctan2(away[1], away[0])[None, None],
            departure_zenith=np.arccos(away[2] / length)[None, None],
            delay=np.array([[length / SPEED_OF_LIGHT]]),
            power=np.array([[(wavelength / (4 * np.pi * length)) ** 2]]),
        )

    out, back = leg(sender, "south"), leg(listener, "roof")
    made = make_echoes(
        out, key, angle_std=1e-9, delay_std=1e-15, cross_section=section,
        carrier_frequency=carrier, listener=back,
    ).echoes  # fmt: skip
    assert made.estimates.power[0, 0] == pytest.approx(equation, rel=1e-12)
    budget = LinkBudget(carrier_frequency=carrier, cross_section_dbsm=10.0, threshold_db=-200.0)
    heard = make_echoes(out, key, budget=budget, listener=back).echoes
    assert heard.estimates.power[0, 0] == pytest.approx(equation, rel=1e-12)
    watts = echo_power(budget, out.estimates.power[0, 0], back.estimates.power[0, 0])
    assert watts == pytest.approx(budget.array_gain * equation, rel=1e-12)  # 30 dBm is 1 W
    reflection = point_reflection(out.estimates[0], back.estimates[0], section, wavelength)
    both = out.estimates.power[0, 0] * back.estimates.power[0, 0]
    assert abs(complex(reflection[0, 0])) ** 2 * both == pytest.approx(equation, rel=1e-12)
