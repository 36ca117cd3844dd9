"""The echoes' likelihood against double sums written out: every term alone decides somewhere."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    log_clutter_density,
)
from echoscape.localization.unassociated.one_way_shares import match, responsibilities
from echoscape.localization.unassociated.pair_likelihood import SelectedPaths, evaluate

MODEL = EchoModel(*map(jnp.asarray, (0.8, 0.07, 0.4, 1.0)))
START = jnp.array([3.0, -1.0, 1.5])


def paths(rng, count=4):
    return LinearisedPaths(
        position=START,
        mean=jnp.asarray(
            np.c_[rng.uniform(-3, 3, count), rng.uniform(1, 2, count), rng.uniform(40, 90, count)]
        ),
        slope=jnp.asarray(rng.normal(size=(count, 3, 3)) * np.array([0.02, 0.01, 0.8])[:, None]),
        variance=jnp.asarray(rng.uniform(0.5, 2.0, (count, 3)) * [1e-4, 2e-4, 0.3]),
        log_odds=jnp.asarray(rng.normal(size=count)),
        log_gain=jnp.asarray(rng.normal(size=count)),
        log_gain_variance=jnp.asarray(rng.uniform(0.05, 0.2, count)),
        log_absent=jnp.asarray(-0.7),
    )


def echoes(rng, path, std=(0.02, 0.03, 0.015, 0.025, 0.4)):
    """Echo every pair once, with unequal errors, and one that is padding."""
    mean, count = np.asarray(path.mean), len(path.mean)
    out, back = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    columns = [mean[out, 0], mean[out, 1], mean[back, 0], mean[back, 1],
               mean[out, 2] + mean[back, 2]]  # fmt: skip
    noisy = [c + s * rng.normal(size=len(c)) for c, s in zip(columns, std)]
    gain = np.asarray(path.log_gain)
    power = gain[out] + gain[back] + 0.5 + 0.3 * rng.normal(size=len(out))
    valid = np.arange(len(out)) < len(out) - 1
    errors = [np.full(len(out), s) for s in std]
    return EchoSet(*map(jnp.asarray, (*noisy, power, *errors, valid)))


def normal(gap, variance):
    return math.exp(-0.5 * gap**2 / variance) / math.sqrt(2 * math.pi * variance)


def test_the_value_is_the_double_sum_with_missed_detections_and_false_echoes():
    rng = np.random.default_rng(4)
    path = paths(rng)
    echo = echoes(rng, path)
    exists = jnp.array([True, False, True, True])
    selected = SelectedPaths(path, exists, exists, jnp.asarray(0.5), jnp.asarray(-1.3))
    position = START + jnp.array([0.4, -0.2, 0.0])
    value, _, _ = jax.jit(evaluate)(selected, echo, MODEL, position)
    mean = np.asarray(path.mean + path.slope @ (position - START))
    variance, gain = np.asarray(path.variance), np.asarray(path.log_gain)
    gain_variance = np.asarray(path.log_gain_variance)
    clutter = math.exp(float(log_clutter_density(echo, MODEL)))
    total = -1.3 - 0.8 * 3**2  # prior, and nine expected pairs of which each may be missed
    for e in range(int(echo.valid.sum())):
        mixture = 0.0
        for k in np.flatnonzero(exists):
            for m in np.flatnonzero(exists):
                density = 0.8
                for value_, slot, axis, std in (
                    (echo.departure_azimuth[e], k, 0, 0.02), (echo.departure_zenith[e], k, 1, 0.03),
                    (echo.arrival_azimuth[e], m, 0, 0.015), (echo.arrival_zenith[e], m, 1, 0.025),
                ):  # fmt: skip
                    gap = float(value_) - mean[slot, axis]
                    density *= normal(gap, variance[slot, axis] + std**2)
                gap = float(echo.length[e]) - mean[k, 2] - mean[m, 2]
                density *= normal(gap, variance[k, 2] + variance[m, 2] + 0.4**2)
                gap = float(echo.log_power[e]) - gain[k] - gain[m] - 0.5
                power = 0.95 * 9.2 * normal(gap, gain_variance[k] + gain_variance[m] + 0.4**2)
                mixture += density * max(power, 0.05)
        total += math.log1p(mixture / clutter)
    # the pairs' densities are in single precision
    assert float(value) == pytest.approx(total, abs=2e-3)


def test_every_observed_path_is_shared_among_the_maps_paths():
    rng = np.random.default_rng(6)
    path = paths(rng, 3)
    mean = np.asarray(path.mean)
    observed = OneWayPaths(
        *(jnp.asarray(mean[[2, 0], axis] + shift) for axis, shift in
          ((0, 0.011), (1, -0.02), (2, 0.3))),
        jnp.array([0.4, -0.2]), *(jnp.asarray(v) for v in ([2e-4, 3e-4], [4e-4, 1e-4],
        [0.05, 0.08], [[0.05, 0.01], [0.01, 0.08]], [0.02, 0.03])),
        jnp.asarray(0.0), jnp.asarray(1.0), jnp.array([True, True]),
    )  # fmt: skip
    position = START + jnp.array([-0.3, 0.5, 0.0])
    log, _, _ = jax.jit(match)(path, observed, position, jnp.asarray(0.6), jnp.asarray(0.0))
    share, total = responsibilities(log, observed)
    predicted = np.asarray(path.mean + path.slope @ (position - START))
    odds = np.exp(np.asarray(path.log_odds))
    for p in range(2):
        parts = []
        for k in range(3):
            density = odds[k]
            for axis, name in enumerate(("azimuth", "zenith", "length")):
                gap = float(getattr(observed, name)[p]) - predicted[k, axis]
                spread = float(path.variance[k, axis]) + float(
                    getattr(observed, f"{name}_variance")[p]
                )
                density *= normal(gap, spread)
            gap = float(observed.log_gain[p]) - float(path.log_gain[k]) - 0.3
            spread = float(path.log_gain_variance[k] + observed.log_gain_variance[p])
            parts.append(density * max(0.95 * 9.2 * normal(gap, spread), 0.05))
        mixture = 1e-3 + sum(parts)
        assert float(total[p]) == pytest.approx(math.log(mixture), rel=1e-9)
        np.testing.assert_allclose(share[p], np.array(parts) / mixture, rtol=1e-9)
