"""The learned map: losses against slow twins, what it learns, what it claims."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from echoscape.channel_map import fit_map
from echoscape.channel_map.learned.losses import (
    CLUTTER,
    TrainingSet,
    likelihood_loss,
    set_loss,
    squared_loss,
)
from echoscape.channel_map.learned.network import (
    HEADS,
    LIKELIHOOD_HEADS,
    SlotScale,
    forward,
    read_slots,
)
from echoscape.channel_map.learned.training import Network
from tests.worlds.mirrors import paths_at, street_reports, two_stations, users

SMALL = Network(hidden=(48, 48), epochs=120, batch=32, jitter=0.3, held_out=0.1)


@jax.jit
def asked(channel_map, position):
    return jax.vmap(channel_map)(position)


def unit_scale(slots):
    one, zero = np.float32(1.0), np.float32(0.0)
    arrays = dict.fromkeys(("azimuth_mean", "zenith_mean", "delay_mean", "log_power_mean"), zero)
    arrays |= dict.fromkeys(
        ("azimuth_scale", "zenith_scale", "delay_scale", "log_power_scale"), one
    )
    flat = {"position_mean": np.zeros(3), "position_scale": np.ones(3)}
    flat |= {"slot_log_power": np.zeros(slots), "slot_presence": np.zeros(slots)}
    return SlotScale(**{name: np.asarray(v) for name, v in (arrays | flat).items()})


def case(heads, slots=3, paths=3):
    """Two reports, the second with fewer paths and an unmeasured zenith; nothing symmetric."""
    rng = np.random.default_rng(4)
    raw = jnp.asarray(rng.normal(size=(2, len(heads) * slots)))
    valid = np.ones((2, paths), bool)
    valid[1, -1] = False
    measured = np.repeat(valid[..., None], 3, axis=-1)
    measured[1, 0, 1] = False
    target = rng.normal(size=(2, paths, 3)) * [3.0, 1.0, 1.0]
    target[..., 0] = np.angle(np.exp(1j * target[..., 0]))
    examples = TrainingSet(
        features=np.zeros((2, 3)),
        target=target * measured,
        noise=rng.uniform(0.1, 0.5, size=(2, paths, 3)),
        measured=measured,
        log_power=rng.normal(size=(2, paths)),
        valid=valid,
    )
    scale = unit_scale(slots)
    return read_slots(raw, scale, heads), examples, scale


def log_density(slots, examples, report, slot, path, noise=True):
    """Gaussian log density of one path under one slot, without constants, number by number."""
    total = 0.0
    means = (slots.azimuth, slots.zenith, slots.delay)
    for q in range(3):
        if not examples.measured[report, path, q]:
            continue
        gap = float(examples.target[report, path, q] - means[q][report, slot])
        gap = np.angle(np.exp(1j * gap)) if q == 0 else gap
        variance = float(slots.variance[report, slot, q] + noise * examples.noise[report, path, q])
        total += norm.logpdf(gap, scale=np.sqrt(variance)) + 0.5 * np.log(2 * np.pi)
    return total


def sigmoid(logit):
    return 1.0 / (1.0 + np.exp(-float(logit)))


def test_likelihood_is_that_of_a_path_by_path_loop():
    slots, examples, scale = case(LIKELIHOOD_HEADS)
    total = 0.0
    for r in range(2):
        for k in range(3):
            present = sigmoid(slots.presence[r, k])
            if not examples.valid[r, k]:
                total -= np.log(1 - present)
                continue
            means = (slots.azimuth, slots.zenith, slots.delay)
            other = 0.0
            for q, width in enumerate((1.8, 2.0, 2.0)):
                if examples.measured[r, k, q]:
                    gap = float(examples.target[r, k, q] - means[q][r, k])
                    gap = np.angle(np.exp(1j * gap)) if q == 0 else gap
                    other += -0.5 * (gap / width) ** 2 - np.log(width)
            trust = sigmoid(slots.trust[r, k])
            ours = np.exp(log_density(slots, examples, r, k, k))
            total -= np.log(present) + np.log(trust * ours + (1 - trust) * np.exp(other))
            total += 0.5 * float(examples.log_power[r, k] - slots.log_power[r, k]) ** 2
    assert likelihood_loss(slots, examples, scale) == pytest.approx(total / 2, rel=1e-6)


@pytest.mark.slow
def test_set_likelihood_is_that_of_a_poisson_process_and_knows_no_order():
    slots, examples, scale = case(HEADS, slots=4)
    total = 0.0
    for r in range(2):
        total += sum(sigmoid(logit) for logit in slots.presence[r])
        for k in range(3):
            if not examples.valid[r, k]:
                continue
            each = np.array(
                [sigmoid(slots.presence[r, s]) * np.exp(log_density(slots, examples, r, s, k))
                 for s in range(4)]
            )  # fmt: skip
            total -= np.log(each.sum() + np.exp(CLUTTER))
            owner = each / each.sum()
            gaps = (float(examples.log_power[r, k]) - np.asarray(slots.log_power[r])) ** 2
            total += 0.5 * float(owner @ gaps)
    assert set_loss(slots, examples, scale) == pytest.approx(total / 2, rel=1e-6)
    mixed = jax.tree.map(lambda leaf: leaf[:, [2, 0, 3, 1]], slots)
    assert set_loss(mixed, examples, scale) == pytest.approx(total / 2, rel=1e-6)


def test_squared_error_leaves_the_means_alone_when_variances_learn():
    slots, examples, scale = case(HEADS)

    def split(change):
        moved = eqx.tree_at(lambda item: item.variance, slots, slots.variance + change)
        return squared_loss(moved, examples, scale) - squared_loss(slots, examples, scale)

    residual = np.stack(
        [
            np.angle(np.exp(1j * (examples.target[..., 0] - np.asarray(slots.azimuth)))),
            examples.target[..., 1] - np.asarray(slots.zenith),
            examples.target[..., 2] - np.asarray(slots.delay),
        ],
        axis=-1,
    )
    before = (np.asarray(slots.variance) - residual**2) ** 2
    after = (np.asarray(slots.variance) + 0.1 - residual**2) ** 2
    expected = ((after - before) * examples.measured).sum() / 2
    assert split(0.1) == pytest.approx(expected, rel=1e-6)

    def of_mean(delay):
        return squared_loss(eqx.tree_at(lambda s: s.delay, slots, delay), examples, scale)

    gradient = jax.grad(of_mean)(slots.delay)
    expected = -(residual[..., 2] * examples.measured[..., 2])  # 2 r over two reports
    assert jnp.allclose(gradient, expected, rtol=1e-6)


def test_layers_are_a_plain_loop():
    rng = np.random.default_rng(0)
    weights = tuple(rng.normal(size=s) for s in [(3, 5), (5, 4), (4, 2)])
    biases = tuple(rng.normal(size=s) for s in (5, 4, 2))
    x = rng.normal(size=(7, 3))
    hidden = x
    for k in range(3):
        hidden = hidden @ weights[k] + biases[k]
        if k < 2:
            hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
    ours = forward(
        tuple(map(jnp.asarray, weights)), tuple(map(jnp.asarray, biases)), jnp.asarray(x)
    )
    assert jnp.allclose(ours, hidden, rtol=1e-12)


@pytest.fixture(scope="module")
def learnt():
    return fit_map(
        street_reports(400), SMALL.model_copy(update={"loss": "set"}), key=jax.random.key(3)
    )


@pytest.mark.slow
def test_the_network_learns_paths_round_the_cut_of_azimuth(learnt):
    place = users(200, seed=11, corner=(-36.0, -16.0), size=(52.0, 47.0))
    prior = jax.tree.map(np.asarray, asked(learnt, jnp.asarray(place)))
    azimuth, _, delay, power = paths_at(place)
    assert np.ptp(np.sign(azimuth[:, 0])) == 2
    strongest = power.argmax(axis=1)[:, None]
    azimuth, delay = (np.take_along_axis(v, strongest, axis=1) for v in (azimuth, delay))
    turn = np.abs(np.angle(np.exp(1j * (azimuth - prior.departure_azimuth))))
    late = np.abs(delay - prior.delay)
    near = np.where(prior.probability > 0.3, np.hypot(turn / 0.1, late / 20e-9), np.inf).min(axis=1)
    assert np.mean(near < 1.0) > 0.8  # of a spread of 1 rad and 70 ns over the street
    assert 3.5 < prior.probability.sum(axis=1).mean() < 5.5  # five paths are listed


@pytest.mark.slow
def test_slots_fall_in_probability_and_far_places_stay_finite(learnt):
    place = np.concatenate([users(20), [[5000.0, -3000.0, 1.5]], [[31.0, 12.0, 9.0]]])
    prior = asked(learnt, jnp.asarray(place))
    assert (jnp.diff(prior.probability, axis=1) <= 0).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(prior))
    assert prior.delay.dtype == jnp.float64
    assert learnt.support(place)[-2] > 4000


def test_gradients_match_finite_differences(learnt):
    place = jnp.array([-12.3, 4.1, 1.5])

    @jax.jit
    def probe(x):
        prior = learnt(x)
        return jnp.stack([prior.departure_azimuth, prior.delay * 1e7])[:, :4]

    exact = jax.jacfwd(probe)(place)
    for axis, size in enumerate((0.05, 0.05)):  # single precision inside
        shift = jnp.zeros(3).at[axis].set(size)
        numeric = (probe(place + shift) - probe(place - shift)) / (2 * size)
        assert jnp.allclose(exact[..., axis], numeric, rtol=0.05, atol=1e-4)
    assert jnp.abs(exact).max() > 1e-3
    assert not exact[..., 2].any()  # all reports agree on the height, so the map ignores it


@pytest.mark.slow
def test_the_paper_s_square_has_four_numbers_a_slot():
    settings = Network(hidden=(16,), epochs=2, planar=True)
    paper = fit_map(
        street_reports(40), settings.model_copy(update={"loss": "squared"}), key=jax.random.key(0)
    )
    assert paper.biases[-1].shape == (20,)
    prior = paper(jnp.array([-12.0, 4.0, 1.5]))
    assert prior.probability.shape == (5,)
    assert prior.probability.min() > 0.99
    assert len(set(prior.power.tolist())) == 5
    with pytest.raises(ValueError, match="not as a set"):
        Network(planar=True, loss="set")


@pytest.mark.slow
def test_the_same_key_gives_the_same_map_and_reports_progress():
    settings = Network(hidden=(16,), epochs=50)
    said = []
    fits = [
        fit_map(
            street_reports(40),
            settings,
            key=jax.random.key(seed),
            progress=lambda *row: said.append(row),
        )
        for seed in (5, 5, 6)
    ]
    first, again, other = (item.weights[0] for item in fits)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert [row[:2] for row in said[:2]] == [(25, 50), (50, 50)]
    assert {row[2] for row in said} == {"training"}


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
@pytest.mark.slow
def test_a_stated_position_error_is_not_claimed_by_the_map():
    noisy = street_reports(400, seed=2, position_std=3.0)
    mute = dataclasses.replace(noisy, position_std=np.zeros(400))
    place = jnp.asarray(users(100, seed=13))
    claimed = [
        asked(fit_map(item, SMALL.model_copy(update={"loss": "set"}), key=jax.random.key(1)), place)
        for item in (noisy, mute)
    ]
    std = [float(jnp.median(jnp.sqrt(p.covariance[:, :3, 2, 2]))) for p in claimed]
    assert std[0] < 0.7 * std[1]


@pytest.mark.slow
def test_what_was_not_measured_is_not_learnt():
    def fit(zenith):
        reports = street_reports(40)
        none = np.full_like(reports.estimates.delay, np.inf)
        reports = eqx.tree_at(
            lambda r: (r.estimates.departure_zenith, r.estimates.departure_zenith_std),
            reports,
            (np.full_like(none, zenith), none),
        )
        settings = Network(hidden=(16,), epochs=3)
        return fit_map(reports, settings, key=jax.random.key(0))

    one, other = fit(1.4), fit(1.4 + 1e-9)
    place = jnp.array([-12.0, 4.0, 1.5])
    assert jnp.allclose(one(place).delay, other(place).delay, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_a_station_is_chosen_by_name():
    reports = two_stations(street_reports(30))
    settings = Network(hidden=(8,), epochs=1, paths=8)
    tower = fit_map(reports, settings, station="tower", key=jax.random.key(0))
    assert tower.station_position.tolist() == [500.0, 20.0, 12.0]
    assert tower(jnp.array([-12.0, 4.0, 1.5])).probability.shape == (8,)  # reports have six
    with pytest.raises(ValueError, match="name one station"):
        fit_map(reports, settings, key=jax.random.key(0))
