"""Refinement: the step's gradient against finite differences, users and clocks brought back."""

import numpy as np
import pytest

from echoscape.imaging.field.links import (
    Nuisance,
    Scene,
    blocks_of,
    columns_of,
    factors_of,
    gram_of,
    links_of,
)
from echoscape.imaging.field.refine import Priors, gauss_newton

TONES = 28e9 + 300e6 * ((np.arange(6) + 0.5) / 6 - 0.5)


def world(seed=2, users=4, points=3):
    """A scene without noise: points, users, two arrays at random, every link's phase its own."""
    generator = np.random.default_rng(seed)
    user, point = generator.uniform(0, 8, (users, 3)), generator.uniform(1, 6, (points, 3))
    centre = np.array([[-4.0, 2.0, 5.0], [10.0, 7.0, 3.0], [3.0, -6.0, 4.5]])
    antenna = centre[:, None] + generator.uniform(-0.02, 0.02, (3, 9, 3))
    empty = np.zeros((6, users, 3, 9), complex)
    nuisance = Nuisance(0.03 * generator.standard_normal((users, 3)), np.zeros(users))
    scene = Scene(empty, TONES, user, antenna, np.full(users, 1e4))
    link = generator.standard_normal((2, users, 3, points))
    factors = factors_of(scene, nuisance, point)
    received = np.einsum(
        "fks,kbs,fbas->fkba", factors.user, link[0] + 1j * link[1], factors.antenna
    )
    return scene._replace(channel=received), point, nuisance


def posterior(scene, nuisance, point, noise):
    factors = factors_of(scene, nuisance, point)
    gram = gram_of(columns_of(factors), blocks_of(scene.channel))
    is_open = np.ones(gram.towards.shape, bool)
    return factors, links_of(gram, is_open, np.full(len(point), 2.0), noise)


def test_the_step_is_zero_at_the_truth_and_its_gradient_that_of_the_evidence():
    scene, point, nuisance = world()
    size = np.mean(np.abs(scene.channel) ** 2)
    noise = np.full((4, 3), 1e-3 * size)
    priors = Priors(1e3, np.full(4, 1e3), np.full(4, 1e3))
    moved = point + 0.004 * np.random.default_rng(5).standard_normal(point.shape)
    factors, links = posterior(scene, nuisance, moved, noise)
    step = gauss_newton(scene, moved, moved, nuisance, factors, links, noise, priors)
    flat = np.concatenate([step.point.ravel(), step.offset.ravel(), step.clock])
    gradient = np.linalg.solve(step.covariance, flat)

    def evidence(delta):
        at, offset = delta[:9].reshape(3, 3), delta[9:21].reshape(4, 3)
        shifted = Nuisance(nuisance.offset + offset, nuisance.clock + delta[21:])
        return posterior(scene, shifted, moved + at, noise)[1].evidence.sum()

    for index in (0, 4, 8, 11, 16, 22):
        delta = np.zeros(25)
        delta[index] = 1e-5
        slope = (evidence(delta) - evidence(-delta)) / 2e-5
        # Amplitudes are held while positions move, which is some per mille of the slope.
        assert np.isclose(gradient[index], slope, rtol=0.02, atol=0.005 * np.abs(gradient).max())


def test_the_claimed_information_is_the_curvature_of_the_evidence():
    # Without a residual, Gauss-Newton with the links projected out is exact; what the links take
    # away is part of it: a phase common to all antennas and tones says nothing of a position.
    scene, point, nuisance = world()
    noise = np.full((4, 3), 1e-3 * np.mean(np.abs(scene.channel) ** 2))
    priors = Priors(1e3, np.full(4, 1e3), np.full(4, 1e3))
    factors, links = posterior(scene, nuisance, point, noise)
    step = gauss_newton(scene, point, point, nuisance, factors, links, noise, priors)

    def evidence(delta):
        at, offset = delta[:9].reshape(3, 3), delta[9:21].reshape(4, 3)
        shifted = Nuisance(nuisance.offset + offset, nuisance.clock + delta[21:])
        return posterior(scene, shifted, point + at, noise)[1].evidence.sum()

    moves, best = 1e-3 * np.eye(25), evidence(np.zeros(25))
    curvature = [(2 * best - evidence(move) - evidence(-move)) / 1e-6 for move in moves]
    information = np.diagonal(np.linalg.inv(step.covariance))
    # Single precision in the step, and the logarithm of the links' covariance in the evidence.
    np.testing.assert_allclose(information, curvature, rtol=1e-3)


@pytest.mark.parametrize("clock", [0.0, 0.2])
def test_steps_lead_back_to_points_users_and_clocks(clock):
    scene, point, nuisance = world(3, users=6, points=5)
    noise = np.full((6, 3), 1e-5 * np.mean(np.abs(scene.channel) ** 2))
    generator = np.random.default_rng(1)
    priors = Priors(0.3, np.full(6, 0.1), np.full(6, clock))
    at = point + 0.02 * generator.standard_normal(point.shape)
    state = Nuisance(np.zeros((6, 3)), np.zeros(6))
    for _ in range(12):
        factors, links = posterior(scene, state, at, noise)
        step = gauss_newton(scene, at, point, state, factors, links, noise, priors)
        at = at + step.point
        state = Nuisance(state.offset + step.offset, state.clock + step.clock)
    wrong = np.concatenate([at - point, state.offset - nuisance.offset])
    deviation = np.sqrt(np.diagonal(step.covariance))[: wrong.size].reshape(-1, 3)
    # The samples hold no noise: what is left is the priors' pull, within the claimed deviation.
    assert np.all(np.abs(wrong) < 3 * deviation)
    assert np.median(np.abs(wrong)) < 0.004
    assert np.all(state.clock == 0) == (clock == 0)


def test_points_that_stay_leave_the_step_of_the_users():
    """Fixed points are the limit of a prior that gets ever tighter."""
    scene, point, nuisance = world()
    noise = np.full((4, 3), 1e-3 * np.mean(np.abs(scene.channel) ** 2))
    wrong = Nuisance(nuisance.offset + 0.01, nuisance.clock)
    factors, links = posterior(scene, wrong, point, noise)
    steps = [
        gauss_newton(
            scene, point, point, wrong, factors, links, noise,
            Priors(std, np.full(4, 0.1), np.full(4, 0.2)),
        )
        for std in (0.0, 1e-7)
    ]  # fmt: skip
    assert not steps[0].point.any()
    assert np.abs(steps[0].offset).max() > 1e-3
    assert np.allclose(steps[0].offset, steps[1].offset, rtol=1e-4, atol=1e-9)
    assert np.allclose(steps[0].clock, steps[1].clock, rtol=1e-4, atol=1e-9)
