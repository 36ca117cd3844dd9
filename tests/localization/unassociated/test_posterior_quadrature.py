"""The posterior about an end, against a sum over a dense grid."""

import dataclasses

import numpy as np
import pytest

from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.posterior_quadrature import integrate_modes

CENTRE = np.array([3.0, -2.0, 1.5])
INFORMATION = np.array([[0.5, 0.28, 0.0], [0.28, 0.4, 0.0], [0.0, 0.0, 0.0]])
HEIGHT = np.array([1.5, 1.5])


def found(places, values):
    shape = (1, len(places))
    return LocalMaxima(
        np.asarray(places, float)[None], np.asarray(values, float)[None],
        np.broadcast_to(INFORMATION, (*shape, 3, 3)), np.ones(shape), np.ones(shape),
        np.zeros((*shape, 1)), np.ones(shape),
    )  # fmt: skip


def valley(edge):
    """Make a likelihood with a step across its valley; a step of zero is a Gaussian."""

    def evaluate(_, place, level=None):
        apart = np.asarray(place) - CENTRE
        square = np.einsum("...i,ij,...j->...", apart, INFORMATION, apart)
        bright = (apart[..., :2] @ np.array([0.8, -0.6])) > 0.3
        return 7.0 - 0.5 * square + edge * bright

    return evaluate


def dense(edge):
    """Sum over a fine grid: mean, covariance and logarithm of the integral."""
    axis = np.linspace(-15, 15, 601)
    grid = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.zeros((601, 601))], -1) + CENTRE
    value = np.asarray(valley(edge)(None, grid), float)
    weight = np.exp(value - value.max())
    mean = np.einsum("ab,abi->i", weight, grid) / weight.sum()
    apart = (grid - mean)[..., :2]
    covariance = np.einsum("ab,abi,abj->ij", weight, apart, apart) / weight.sum()
    return mean, covariance, value.max() + np.log(weight.sum() * 0.05**2)


def test_a_gaussian_keeps_its_place_and_its_mass():
    out = integrate_modes(found([CENTRE], [7.0]), valley(0.0), HEIGHT)
    np.testing.assert_allclose(out.position[0, 0], CENTRE, atol=1e-4)
    covariance = np.linalg.inv(np.asarray(out.information)[0, 0, :2, :2])
    plain = np.linalg.inv(INFORMATION[:2, :2])
    # as wide as it is, and a share for doubt
    assert np.all(np.linalg.eigvalsh(covariance - 1.15 * plain) > 0)
    assert np.all(np.linalg.eigvalsh(1.45 * plain - covariance) > 0)
    mass = out.log_likelihood[0, 0] + np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    assert mass == pytest.approx(dense(0.0)[2], abs=0.35)


def test_a_step_across_a_valley_moves_the_mean():
    edge = 3.0
    out = integrate_modes(found([CENTRE], [7.0]), valley(edge), HEIGHT)
    mean, _, _ = dense(edge)
    assert np.linalg.norm(mean - CENTRE) > 0.6
    assert np.linalg.norm(np.asarray(out.position[0, 0]) - mean) < 0.35
    assert out.position[0, 0, 2] == CENTRE[2]


def test_ends_together_move_together_and_others_stay():
    far = CENTRE + np.array([40.0, 5.0, 0.0])
    farther = far + np.array([30.0, 0.0, 0.0])
    near = CENTRE + np.array([0.2, -0.1, 0.0])
    ends = [near, far, CENTRE, farther]
    out = integrate_modes(found(ends, [6.9, 1.0, 7.0, 0.5]), valley(3.0), HEIGHT)
    np.testing.assert_array_equal(out.position[0, 0], out.position[0, 2])
    np.testing.assert_array_equal(out.position[0, 3], farther)
    assert out.log_likelihood[0, 3] == 0.5
    assert np.linalg.norm(np.asarray(out.position[0, 1]) - far) > 1e-3


def test_free_heights_stay_in_range_and_keep_their_uncertainty():
    free = np.array([1.0, 30.0])
    start = found([CENTRE], [7.0])
    information = np.asarray(start.information).copy()
    information[..., 2, 2] = 0.04
    start = dataclasses.replace(start, information=information)
    out = integrate_modes(start, valley(0.0), free)
    covariance = np.linalg.inv(np.asarray(out.information)[0, 0])
    plain = np.linalg.inv(information[0, 0])
    assert np.linalg.eigvalsh(covariance)[0] > 0.9 * np.linalg.eigvalsh(plain)[0]
    assert 1.0 <= float(out.position[0, 0, 2]) <= 30.0


def test_an_end_that_holds_nothing_is_left_as_it_is_and_never_asked():
    other = CENTRE + np.array([40.0, 0.0, 0.0])
    asked = []

    def evaluate(row, place, _):
        asked.append(len(row))
        return valley(0.0)(None, place)

    out = integrate_modes(found([CENTRE, other], [7.0, -14.0]), evaluate, HEIGHT)
    assert asked == [1]
    np.testing.assert_array_equal(out.position[0, 1], other)
    assert out.log_likelihood[0, 1] == -14.0
    integrate_modes(found([CENTRE, other], [7.0, -12.0]), evaluate, HEIGHT)
    assert asked == [1, 1, 1]


def test_ends_of_many_targets_are_evaluated_for_their_own_target():
    many = 11
    shift = np.arange(11.0)[:, None, None] * [1.0, -0.5, 0.0]
    start = found([CENTRE, CENTRE + np.array([30.0, 5.0, 0.0])], [7.0, 5.0])
    start = dataclasses.replace(start, **{
        name: np.repeat(getattr(start, name), many, axis=0)
        for name in ("position", "log_likelihood", "information", "explained", "detected",
                     "log_reflectivity", "starts")
    })  # fmt: skip
    place = start.position + shift

    def evaluate(row, point, _):
        return valley(0.0)(None, point - shift[row])

    out = integrate_modes(dataclasses.replace(start, position=place), evaluate, HEIGHT)
    moved = out.position - shift
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-9)
