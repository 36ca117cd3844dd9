"""Sums of batches against the joint least squares of all paths."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from echoscape.channel_map.updating.statistics import (
    add_statistics,
    estimate_isometry,
    gather_statistics,
)
from echoscape.channel_map.virtual_anchors.search import (
    FittedPoint,
    isometry_matrix,
    misfit,
)
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths

TURN, SHIFT, EDGE = 0.7, np.array([31.0, -12.0]), np.array([24.0, 37.0])


def noisy_paths(count=60, reflection=-1, seed=0):
    """Paths of one point, oblique and with unequal errors; or of the edge."""
    rng = np.random.default_rng(seed)
    place = np.c_[rng.uniform(-30, 50, (count, 2)), np.full(count, 1.5)]
    if reflection:
        image = place[:, :2] @ isometry_matrix(reflection, TURN).T + SHIFT
    else:
        rest = np.linalg.norm(place[:, :2] - EDGE, axis=1)
        image = EDGE * (1 + rest / np.linalg.norm(EDGE))[:, None]
    image = image + 0.3 * rng.normal(size=image.shape)
    azimuth = np.arctan2(image[:, 1], image[:, 0])
    return UnfoldedPaths(
        report=np.arange(count), rank=np.zeros(count, int), place=place,
        point=np.c_[image, np.full(count, 1.5)],
        outward=np.stack([np.cos(azimuth), np.sin(azimuth)], -1),
        along_std=rng.uniform(0.2, 0.5, count), across_std=rng.uniform(0.3, 0.9, count),
        height_std=np.full(count, 0.3), azimuth=azimuth, arrival_azimuth=np.zeros(count),
        has_arrival=np.zeros(count, bool), model_error=0.1, log_gain=rng.normal(size=count),
    )  # fmt: skip


def point(reflection, member):
    if reflection:
        return FittedPoint(reflection, TURN, SHIFT, member)
    return FittedPoint(0, float(np.arctan2(EDGE[1], EDGE[0])), EDGE, member)


@pytest.mark.parametrize("reflection", [-1, 1])
def test_batches_give_the_isometry_of_the_joint_least_squares(reflection):
    paths = noisy_paths(reflection=reflection)
    square = misfit(paths, np.arange(60), reflection, TURN, SHIFT)
    weight = 1 / (paths.along_std * paths.across_std * (1 + square / 4))

    def residual(parameter):
        image = paths.place[:, :2] @ isometry_matrix(reflection, parameter[0]).T + parameter[1:]
        return (np.sqrt(weight)[:, None] * (paths.point[:, :2] - image)).ravel()

    joint = least_squares(residual, [TURN, *SHIFT], xtol=1e-15, gtol=1e-15).x  # dense
    sums = gather_statistics(paths, [point(reflection, np.arange(25))])
    more = gather_statistics(paths, [point(reflection, np.arange(25, 60))])
    rotation, offset = estimate_isometry(
        add_statistics(sums, np.array([0]), more), np.array([reflection])
    )
    assert abs(rotation[0] - joint[0]) < 1e-7
    assert np.abs(offset[0] - joint[1:]).max() < 1e-6
    assert abs(rotation[0] - TURN) > 1e-4  # the start is not the answer


def test_batches_give_the_edge_of_the_joint_normal_equations():
    paths = noisy_paths(reflection=0)
    edge = point(0, np.arange(60))
    square = misfit(paths, np.arange(60), 0, edge.rotation, EDGE)
    trust = np.sqrt(1 / (paths.along_std * paths.across_std * (1 + square / 4)))
    length = np.linalg.norm(paths.point[:, :2], axis=1)

    def residual(position):
        reach = np.linalg.norm(position)
        rest = np.linalg.norm(paths.place[:, :2] - position, axis=1)
        out = position / reach
        turn = paths.outward[:, 1] * out[0] - paths.outward[:, 0] * out[1]
        return np.r_[trust * (length - reach - rest), trust * length * turn]

    step = 1e-6 * np.eye(2)
    slope = np.stack([(residual(EDGE + d) - residual(EDGE - d)) / 2e-6 for d in step], -1)
    joint = EDGE - np.linalg.lstsq(slope, residual(EDGE), rcond=None)[0]
    sums = gather_statistics(paths, [point(0, np.arange(40))])
    more = gather_statistics(paths, [point(0, np.arange(40, 60))])
    _, offset = estimate_isometry(add_statistics(sums, np.array([0]), more), np.array([0]))
    # the slope across is that of the ray at the edge, of second order in the angle's error
    assert np.abs(offset[0] - joint).max() < 2e-3
    assert np.abs(offset[0] - EDGE).max() > 1e-2
