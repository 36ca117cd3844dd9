"""Tracks as static points: the isometry that they give makes the image each path shows."""

import equinox as eqx
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.scene.static_points import PointKind, isometry
from echoscape.tracking.tracks import TrackStatus, UserStatus
from tests.tracking.test_forecast import exact_tracks
from tests.worlds.walls import STATION, image_path, sequences


def test_static_points_of_tracks_give_the_images_of_any_user():
    tracks = exact_tracks()
    points = tracks.static_points()
    elsewhere = np.array([5.0, -30.0, 2.2])
    believed = [k for k, planes in enumerate(sequences()) if planes]
    assert len(points) == len(believed)
    images = isometry(points, elsewhere) - STATION
    for image, number in zip(images, believed):
        if number == 2:  # tentative at the last instant, where only the others are the truth
            continue
        exact, _, _ = image_path(elsewhere, sequences()[number])
        assert np.linalg.norm(image) == pytest.approx(exact[0], abs=1e-9)
        assert np.arctan2(image[1], image[0]) == pytest.approx(exact[3], abs=1e-9)
        assert np.arccos(image[2] / exact[0]) == pytest.approx(exact[4], abs=1e-9)
    assert (points.kind == PointKind.VIRTUAL_ANCHOR).all()
    assert points.provenance == ("tracks",)


def test_moving_points_are_no_static_points():
    tracks = exact_tracks()
    moving = eqx.tree_at(
        lambda t: t.first, tracks, np.zeros((2, len(sequences()), 3)), is_leaf=lambda x: x is None
    )
    with pytest.raises(InputError, match="points that stand still, and these are tracks of moving"):
        moving.static_points()


def test_tracks_tell_what_they_hold():
    assert repr(exact_tracks()).startswith("Tracks(3 to 4 s, ")
    assert len(exact_tracks()) == 2


def test_tracks_are_a_table_and_a_page_with_advice():
    tracks = exact_tracks()
    table = tracks.to_arrow()
    assert set(table["status"].to_pylist()) <= {str(status) for status in TrackStatus}
    assert len(table) == int(tracks.shown.sum())
    page = tracks._repr_html_()
    assert "established" in page
    assert str(UserStatus(int(tracks.user_status[0]))) in page
