"""Errors of echoes that are larger than stated: learnt from twins, whatever the map."""

import numpy as np
import pytest

from echoscape.localization.unassociated.error_scale import ErrorScale, learn_error_scale
from echoscape.localization.unassociated.one_way_paths import EchoSet

ANGLE, LENGTH = 0.03, 1.0  # stated [rad, m]


def echoes_of(scale, targets=24, paths=5, missed=0.15, false=0.1, seed=3, tails=np.inf):
    """Draw echoes of all pairs of paths; errors are `scale` times the stated ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(targets):
        azimuth, zenith = rng.uniform(-np.pi, np.pi, paths), rng.uniform(1.3, 1.8, paths)
        length = rng.uniform(40, 160, paths)
        i, j = np.divmod(np.arange(paths**2), paths)
        angles = np.stack([azimuth[i], zenith[i], azimuth[j], zenith[j]], 1)
        row = np.c_[angles, length[i] + length[j]]
        error = rng.normal(size=row.shape) if tails == np.inf else rng.standard_t(tails, row.shape)
        row += error * np.r_[np.full(4, scale[0] * ANGLE), scale[1] * LENGTH]
        wrong = rng.uniform(size=len(row)) < false
        row[wrong, :2], row[wrong, 4] = rng.uniform(1, 2, (wrong.sum(), 2)), rng.uniform(80, 300)
        rows.append((row, rng.uniform(size=len(row)) >= missed))
    columns = np.moveaxis(np.array([row for row, _ in rows]), 2, 0)
    valid = np.array([there for _, there in rows])
    one = np.ones(valid.shape)
    return EchoSet(*columns, 0 * one, *[ANGLE * one] * 4, LENGTH * one, valid)


@pytest.mark.parametrize("scale", [(4.0, 4.0), (3.0, 1.0), (1.0, 6.0)])
def test_each_scale_is_learnt_with_echoes_missing_and_false(scale):
    found = learn_error_scale([echoes_of(scale)])
    # 450 echoes with a twin, 4 angles each; close paths are sometimes taken for one another
    np.testing.assert_allclose(found[:2], scale, rtol=0.25)
    assert found.tail == 1.0


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.4)])
def test_errors_as_stated_or_smaller_are_left(scale):
    assert learn_error_scale([echoes_of(scale)]) == ErrorScale()


def test_heavy_tails_widen_what_fixes_claim_not_the_likelihood():
    found = learn_error_scale([echoes_of((1.0, 1.0), targets=40, false=0.0, tails=2)])
    # the median of four squares together still grows with the tails, that of one does not
    assert found.angle < 1.8
    assert found.length == 1.0
    assert 1.25 < found.tail < 2.5


def test_few_echoes_or_none_with_a_twin_say_nothing():
    assert learn_error_scale([]) == ErrorScale()
    few = echoes_of((5.0, 5.0), targets=1)
    assert learn_error_scale([few]) == ErrorScale()
    echo = echoes_of((5.0, 5.0))
    i, j = np.divmod(np.arange(25), 5)
    assert learn_error_scale([echo._replace(valid=echo.valid & (i < j))]) == ErrorScale()


def test_angles_that_were_not_measured_do_not_count():
    echo = echoes_of((4.0, 4.0))
    blind = echo._replace(
        departure_zenith_std=np.full(echo.valid.shape, 2.5),
        arrival_zenith_std=np.full(echo.valid.shape, 2.5),
        departure_zenith=np.zeros(echo.valid.shape), arrival_zenith=np.zeros(echo.valid.shape),
    )  # fmt: skip
    assert learn_error_scale([blind]).angle == pytest.approx(4.0, rel=0.25)
