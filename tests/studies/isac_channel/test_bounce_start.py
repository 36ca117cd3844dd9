"""First bounces at the start, as the study counts them: in a made world, by an echo's error."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.studies.isac_channel.bounce_start import (
    ANGLE_STD,
    RANGE_STD,
    Starts,
    echo_distance,
    hear,
    place_starts,
    read_heard,
    start_rows,
)
from echoscape.studies.isac_channel.truth import Truth
from echoscape.studies.isac_channel.world import Route
from tests.tracking.test_joint_start import USER, paths
from tests.worlds.walls import GROUND, STATION, WALLS


def made(first):
    """Give starts of one path 50 m ahead of the station whose bounce is placed at `first`."""
    exact = np.array([[30.0, 40.0, 0.0]])
    one = np.ones(1, int)
    return Starts(np.zeros(3), exact, exact, one, exact, {"echoes": np.array([first])},
                  np.ones(1, bool), 1.0, 1.0)  # fmt: skip


def test_a_start_is_measured_in_the_errors_of_one_echo():
    ahead, aside = np.array([0.6, 0.8, 0.0]), np.array([-0.8, 0.6, 0.0])
    off = 50 * ahead + 2 * RANGE_STD * ahead + 3 * 50 * ANGLE_STD * aside
    assert echo_distance(made(off), "echoes") == pytest.approx(2**2 + 3**2, rel=1e-9)
    assert echo_distance(made(np.full(3, np.nan)), "echoes") > 1e6  # one without a place is outside


def test_points_are_heard_with_the_errors_that_are_stated():
    rng = np.random.default_rng(0)
    points = STATION + 40 * rng.normal(size=(4000, 3))
    heard = hear(points, STATION, rng)
    away = np.linalg.norm(points - STATION, axis=1)
    for wrong, std in (
        (heard.range - away, RANGE_STD),
        (heard.zenith - np.arccos((points - STATION)[:, 2] / away), ANGLE_STD),
    ):
        assert np.std(wrong) == pytest.approx(std, rel=4 / np.sqrt(2 * 4000))


def test_starts_of_a_made_walk_are_counted_by_bounces():
    traced = paths()
    path = np.array([[measured for _, measured, _ in traced]])
    first = np.array([[points[0] if points else np.zeros(3) for _, _, points in traced]])
    bounces = np.array([[bounced for bounced, _, _ in traced]])
    route = Route(np.zeros(1), USER[None], np.zeros((1, 3)), STATION, path, np.ones(bounces.shape))
    truth = Truth(route, bounces, bounces, first, first, np.zeros(bounces.shape))
    rng = np.random.default_rng(0)
    ahead = rng.normal(size=(4000, 3))
    reach = np.full(4000, np.inf)
    for normal, offset in [*WALLS, GROUND]:
        away = (offset - STATION @ normal) / (ahead @ normal)
        reach = np.minimum(reach, np.where(away > 0, away, np.inf))
    near = STATION[2] + reach * ahead[:, 2] < 20.0
    starts = place_starts(truth, STATION + (reach[:, None] * ahead)[near], None, 1)
    rows = start_rows(starts)
    assert [row["bounces"] for row in rows] == [0, 1, 2]
    assert rows[0]["paths"] == (bounces > 0).sum() == rows[1]["paths"] + rows[2]["paths"]
    assert rows[0]["class_right"] > 0.9
    assert 0.5 < rows[0]["within_echo"] <= 1.0
    assert rows[0]["median"] < 1.0
    assert "class_right" not in rows[1]


def test_measured_echoes_are_not_blurred_again(tmp_path):
    with pytest.raises(InputError, match=r"puts errors on echoes itself and needs exact points"):
        read_heard(tmp_path / "echoes.csv", STATION)
