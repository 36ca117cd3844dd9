"""Links: sparse Bayesian statistics against dense covariances, and powers."""

import itertools

import numpy as np
import pytest

from echoscape.imaging.field.links import (
    Segments,
    gram_of,
    learn_power,
    link_evidence,
    links_of,
    point_evidence,
)


def gaussian(generator, *shape):
    return generator.standard_normal(shape) + 1j * generator.standard_normal(shape)


def block(seed=0, samples=14, points=4):
    generator = np.random.default_rng(seed)
    columns = gaussian(generator, 2, 3, samples, points)
    power = np.array([0.8, 0.3, 2.1, 0.05])
    is_open = generator.uniform(size=(2, 3, points)) < 0.7
    noise = generator.uniform(0.2, 0.9, (2, 3))
    received = gaussian(generator, 2, 3, samples)
    return columns, power, is_open, noise, received


def dense(columns, power, is_open, noise):
    return noise * np.eye(len(columns)) + (columns * (power * is_open)) @ columns.conj().T


def test_links_are_the_gaussian_posterior_of_the_open_ones():
    columns, power, is_open, noise, received = block()
    found = links_of(gram_of(columns, received), is_open, power, noise)
    for k in range(2):
        for b in range(3):
            gamma = power * is_open[k, b]
            inverse = np.linalg.inv(dense(columns[k, b], power, is_open[k, b], noise[k, b]))
            mean = gamma * (columns[k, b].conj().T @ inverse @ received[k, b])
            assert np.allclose(found.mean[k, b], mean, atol=1e-12)
            left = received[k, b] - columns[k, b] @ mean
            assert np.isclose(found.residual[k, b], np.sum(np.abs(left) ** 2), rtol=1e-10)
            hat = columns[k, b] @ np.diag(gamma) @ columns[k, b].conj().T @ inverse
            assert np.isclose(found.fitted[k, b], np.trace(hat).real, rtol=1e-10)
            volume = np.linalg.slogdet(np.linalg.inv(inverse))[1]
            fit = np.real(received[k, b].conj() @ inverse @ received[k, b])
            assert np.isclose(found.evidence[k, b], -fit - volume, rtol=1e-10)


def test_a_link_is_judged_by_what_all_others_leave():
    """Score and precision with the own point taken out, whether it is open or not."""
    columns, power, is_open, noise, received = block(3)
    found = links_of(gram_of(columns, received), is_open, power, noise)
    k, b = 1, 2
    for n in range(4):
        others = is_open[k, b] & (np.arange(4) != n)
        inverse = np.linalg.inv(dense(columns[k, b], power, others, noise[k, b]))
        column = columns[k, b][:, n]
        assert np.isclose(found.precision[k, b, n], np.real(column.conj() @ inverse @ column))
        assert np.isclose(found.score[k, b, n], column.conj() @ inverse @ received[k, b])


def test_the_evidence_of_a_link_is_the_ratio_of_two_likelihoods():
    columns, power, is_open, noise, received = block(5)
    found = links_of(gram_of(columns, received), is_open, power, noise)
    ratio = link_evidence(found.score, found.precision, power)
    k, b, n = 0, 1, 2
    logs = []
    for state in (True, False):
        changed = np.where(np.arange(4) == n, state, is_open[k, b])
        inverse = np.linalg.inv(dense(columns[k, b], power, changed, noise[k, b]))
        fit = np.real(received[k, b].conj() @ inverse @ received[k, b])
        logs.append(-fit + np.linalg.slogdet(inverse)[1])
    assert np.isclose(ratio[k, b, n], logs[0] - logs[1], rtol=1e-9)


def patterns(users, stations):
    return itertools.product(
        itertools.product((False, True), repeat=users),
        itertools.product((False, True), repeat=stations),
    )


@pytest.mark.parametrize(("users", "stations", "few"), [(3, 2, 6), (2, 4, 6), (3, 3, 2)])
def test_a_point_is_there_with_every_segment_open_or_closed(monkeypatch, users, stations, few):
    """Against the sum over all patterns of all segments, and the most probable of these."""
    monkeypatch.setattr("echoscape.imaging.field.links._FEW", few)
    generator = np.random.default_rng(users)
    evidence = 3 * generator.standard_normal((users, stations, 1)) + 1.0
    prior = Segments(*(generator.uniform(0.1, 0.9, (n, 1)) for n in (users, stations)))
    logs, opens = [], []
    for user, station in patterns(users, stations):
        states = np.array([*user, *station])
        share = np.concatenate([prior.user[:, 0], prior.station[:, 0]])
        is_open = np.array(user)[:, None] & np.array(station)[None]
        logs.append(np.log(np.where(states, share, 1 - share)).sum() + evidence[is_open, 0].sum())
        opens.append(is_open)
    found, is_open = point_evidence(evidence, prior)
    # Where not all patterns are summed those far from the best are left out.
    assert np.isclose(found[0], np.logaddexp.reduce(logs), rtol=1e-12 if few > stations else 0.1)
    assert np.array_equal(is_open[..., 0], opens[int(np.argmax(logs))])


def test_the_power_is_that_of_open_links_alone():
    """Half of 400 links are closed and hold noise only; their power must not count."""
    generator = np.random.default_rng(8)
    shape, precision = (20, 20, 1), np.full((20, 20, 1), 200.0)
    is_open = generator.uniform(size=shape) < 0.5
    value = is_open * gaussian(generator, *shape) * np.sqrt(0.7 / 2)
    value = value + gaussian(generator, *shape) * np.sqrt(0.5 / precision)
    found = learn_power(precision * value, precision, np.full(shape, 0.5), None, 8)
    # The mean of about 200 exponentials: 7 % standard error, times three.
    assert np.isclose(found[0], 0.7, rtol=0.21)
