"""Rays of tables of tracks: who takes part, and from when on."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion, bounce_rays_from_tracks, rays_from_tracks
from echoscape.checks import InputError

TIME = np.arange(30) / 10


def write(path, statuses):
    """Write one track after the station's, with a status for each instant."""
    lines = ["time,track,kind,x,y,z,delay,power,status"]
    for k, time in enumerate(TIME):
        lines.append(f"{time},0,anchor,3,4,10,1e-7,1e-9,tracked")
        if statuses[k]:
            lines.append(f"{time},1,anchor,-20,35,8,3e-7,4e-9,{statuses[k]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_is_believed_later_was_there_from_its_first_detection(tmp_path):
    statuses = [""] * 4 + ["tentative"] * 6 + ["tracked"] * 12 + [""] * 8
    rays = rays_from_tracks(write(tmp_path / "tracks.csv", statuses), TIME)
    assert rays.point.shape == (2, 3)
    np.testing.assert_allclose(rays.point[1], [-20, 35, 8])
    presence = np.asarray(rays.presence)[:, 1]
    assert np.all(presence[4:22] == 1.0)
    assert np.all(presence[:2] == 0.0)
    assert np.all(presence[24:] == 0.0)
    assert np.all((presence[[3, 22]] > 0) & (presence[[3, 22]] < 1))  # smooth birth and death


def test_what_was_never_believed_makes_no_ray(tmp_path):
    path = write(tmp_path / "tracks.csv", ["tentative"] * 30)
    assert rays_from_tracks(path, TIME).point.shape == (1, 3)


def test_times_without_a_track_are_refused(tmp_path):
    path = write(tmp_path / "tracks.csv", ["tracked"] * 30)
    with pytest.raises(
        InputError, match="holds no track that was detected 5 times between 7 and 9 s"
    ):
        rays_from_tracks(path, TIME, (7.0, 9.0))


def test_a_station_never_seen_has_to_be_told(tmp_path):
    path = write(tmp_path / "tracks.csv", ["tracked"] * 30)
    lines = [line for line in path.read_text().splitlines() if ",0,anchor" not in line]
    unseen = tmp_path / "unseen.csv"
    unseen.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="give its place as --station X,Y,Z, in m"):
        rays_from_tracks(unseen, TIME)
    place = np.array([3.0, 4.0, 10.0])
    np.testing.assert_array_equal(rays_from_tracks(unseen, TIME, station=place).station, place)
    with pytest.raises(InputError, match="2 m from track 0"):
        rays_from_tracks(path, TIME, station=place + np.array([0, 2, 0]))


@pytest.mark.parametrize(("kind", "law"), [("anchor", 90.0**2), ("scatterer", None)])
def test_the_gain_is_what_brings_the_measured_power_back(tmp_path, kind, law):
    path = write(tmp_path / "tracks.csv", ["tracked"] * 30)
    path.write_text(path.read_text().replace("1,anchor,-20,35,8", f"1,{kind},-20,35,8"))
    rays = rays_from_tracks(path, TIME)
    length = 3e-7 * 299_792_458.0
    first = np.linalg.norm(np.array([-20.0, 35, 8]) - [3, 4, 10])
    law = length**2 if law else (first * (length - first)) ** 2
    assert 10 ** (np.asarray(rays.gain_db)[:, 1] / 10) == pytest.approx(4e-9 * law, rel=1e-9)


def test_bounces_of_a_track_have_its_delay_with_what_lies_between(tmp_path):
    station, user = np.array([3.0, 4.0, 10.0]), np.array([30.0, -12.0, 1.5])
    velocity = np.array([1.0, 0.5, 0.0])
    first, last, slide = np.array([-20.0, 35, 8]), np.array([25.0, 14, 3]), np.array([0.2, -0.4, 0])
    names = "first_x,first_y,first_z,last_x,last_y,last_z"
    lines = [f"time,track,kind,x,y,z,delay,power,status,{names}"]
    delays = []
    for time in TIME:
        lines.append(f"{time},0,anchor,3,4,10,1e-7,1e-9,tracked,,,,,,")
        ends = np.stack([first, last]) + time * slide
        legs = np.linalg.norm(ends[0] - station) + np.linalg.norm(ends[1] - user - time * velocity)
        delays.append((legs + 6.0 + 2.0 * time) / 299_792_458.0)
        places = ",".join(map(str, ends.ravel()))
        lines.append(f"{time},1,anchor,-20,35,8,{delays[-1]},4e-9,tracked,{places}")
        lines.append(f"{time},2,anchor,-2,3,8,2e-7,4e-9,tracked,,,,,,")
    path = tmp_path / "tracks.csv"
    path.write_text("\n".join(lines) + "\n")
    place = user + TIME[:, None] * velocity
    motion = Motion(*map(jnp.asarray, (TIME, place, np.tile(velocity, (len(TIME), 1)))))
    rays = bounce_rays_from_tracks(path, motion)
    np.testing.assert_array_equal(rays.line_of_sight, [True, False])  # track 2 has no bounces
    np.testing.assert_allclose(rays.first[:, 1], first + TIME[:, None] * slide, rtol=1e-9)
    np.testing.assert_allclose(rays.last[:, 1], last + TIME[:, None] * slide, rtol=1e-9)
    np.testing.assert_allclose(rays.beyond[:, 1], 6.0 + 2.0 * TIME, atol=1e-6)
    power = 10 ** (np.asarray(rays.gain_db)[:, 1] / 10) / (299_792_458.0 * np.array(delays)) ** 2
    assert np.median(power) == pytest.approx(4e-9, rel=0.01)
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rsplit(",", 6)[0] for line in lines) + "\n")
    with pytest.raises(InputError, match="has no columns of bounces"):
        bounce_rays_from_tracks(bare, motion)
