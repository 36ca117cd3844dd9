"""Tracks as static points: the isometry that they give makes the image each path shows."""

import equinox as eqx
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.scene.static_points import PointKind, isometry
from echoscape.tracking.anchor import AnchorType
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


def test_points_are_given_where_they_were_last_known_and_once_if_recalled():
    tracks = exact_tracks()
    slot = int(np.argmax(np.asarray(tracks.record.kind)[1] == AnchorType.EVEN))
    assert tracks.status[1, slot] == TrackStatus.TRACKED  # and only remembered at the end, below
    gone = eqx.tree_at(lambda t: t.status, tracks, tracks.status.copy())
    gone.status[1, slot] = TrackStatus.ABSENT
    moved = np.array(tracks.record.anchor)
    moved[1, slot] += [3.0, -4.0, 0.0]
    gone = eqx.tree_at(lambda t: t.record.anchor, gone, moved)
    before, after = tracks.static_points(), gone.static_points()
    assert len(before) == len(after)
    shifted = np.linalg.norm(after.offset - before.offset, axis=1)
    assert np.sort(shifted)[-2:] == pytest.approx([0.0, 5.0], abs=1e-9)
    row = int(np.argmax(shifted))
    assert (after.confirmed[row], before.confirmed[row]) == tuple(tracks.time[:2])
    merged = np.zeros(gone.status.shape, bool)
    merged[1, slot] = True
    held = np.array(tracks.record.identity)
    held[1, slot] = -1
    once = eqx.tree_at(lambda t: (t.record.merged, t.record.identity), gone, (merged, held))
    assert np.allclose(once.static_points().offset, np.delete(before.offset, row, axis=0))


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
