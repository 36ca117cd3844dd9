"""Planes through a station's echoes, slanted ones too, and the ground below it."""

import numpy as np
import pytest

from echoscape.tracking.echo_surface import Surface, ground_level, unit_vectors
from tests.tracking.test_joint_start import heard
from tests.worlds.walls import GROUND, STATION, WALLS


@pytest.mark.parametrize("azimuth", [0.31, 0.9, 2.1, -2.6])
def test_a_ray_meets_the_plane_that_the_echoes_lie_on(azimuth):
    zenith = 1.53
    ahead = unit_vectors(azimuth, zenith)
    planes = [*WALLS, GROUND]
    every = [(o - STATION @ n) / (ahead @ n) for n, o in planes]
    reach = min(each for each in every if each > 0)
    best = max(Surface(heard()).candidates(azimuth, zenith, 1e-3), key=lambda c: c.log_share)
    assert 1 / best.inverse == pytest.approx(reach, rel=2e-3)
    # its slope foretells the range beside it
    beside = unit_vectors(azimuth + 0.01, zenith)
    there = min(
        (o - STATION @ n) / (beside @ n) for n, o in WALLS if beside @ n * (o - STATION @ n) > 0
    )
    assert best.inverse + 0.01 * best.slope[0] == pytest.approx(1 / there, rel=3e-3)


def test_the_ground_is_where_the_lowest_echoes_lie():
    found = ground_level(heard(np.random.default_rng(5)), STATION)
    assert found == pytest.approx(GROUND[1], abs=0.1)
