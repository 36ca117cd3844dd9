"""What a ray-traced walk says of anchors that stand still and of forecasts by the map."""

import json

import numpy as np
import pytest

from echoscape.channel_model.spread import NAMES
from echoscape.cli import main
from echoscape.scene.mesh import read_mesh
from echoscape.studies.isac_channel.between_looks import track_powers
from echoscape.studies.isac_channel.study import IsacChannel, _cut, seen_again
from echoscape.studies.isac_channel.world import (
    CARRIER,
    read_route,
    sample_route,
    spreads_over_time,
)
from echoscape.tracking import track
from echoscape.tracking.map_forecast import forecast_with_map, prepare_map


def test_every_specular_path_comes_from_a_point_that_stands_still(shared):
    with np.load(shared / "data/rt_route/route_paths.npz") as file:
        table = {name: np.asarray(file[name]) for name in file.files}
    owner = np.repeat(np.arange(len(table["t"])), np.diff(table["offset"]))
    keep = ~table["dup"]
    user, number = table["pos"][owner][keep], table["track"][keep]
    across = np.cos(table["eoa"])
    ahead = np.stack(
        [across * np.cos(table["aoa"]), across * np.sin(table["aoa"]), np.sin(table["eoa"])], axis=1
    )[keep]
    image = user + 0.299792458 * table["tau_ns"][keep, None] * ahead
    count = np.bincount(number)
    long = np.flatnonzero(count >= 20)
    worst = [
        np.linalg.norm(image[number == k] - np.median(image[number == k], axis=0), axis=1).max()
        for k in long
    ]
    assert len(long) > 200
    assert np.mean(np.array(worst) <= 5e-3) >= 0.98


def test_a_path_of_our_own_tracing_comes_from_a_point_that_stands_still():
    route, _ = sample_route(2.0, rate=5.0)
    instant, path = np.nonzero(route.power > 0)
    length, azimuth, zenith, *_ = route.path[instant, path].T
    across = np.sin(zenith)
    ahead = [across * np.cos(azimuth), across * np.sin(azimuth), np.cos(zenith)]
    image = route.position[instant] + length[:, None] * np.stack(ahead, axis=1)
    # Of every image at the first instant another is found within a millimetre at the last one,
    # except where the walls' ends let a path go meanwhile.
    first, last = image[instant == 0], image[instant == instant.max()]
    nearest = np.linalg.norm(first[:, None] - last[None], axis=-1).min(axis=1)
    assert len(first) >= 5
    assert np.mean(nearest < 1e-3) > 0.7


@pytest.mark.slow
def test_spreads_ten_seconds_ahead_by_the_maps_walls(shared):
    folder = shared / "data/rt_route"
    route = _cut(read_route(folder / "route_paths.npz"), 80.0)
    seen = seen_again(IsacChannel(), route, 1.0)
    start = {"start": route.position[0], "start_velocity": route.velocity[0]}
    found = track(seen, route.station, **start)
    power = track_powers(found, np.asarray(seen.estimates.power))
    walls = prepare_map(read_mesh(folder / "scene_mesh.npz"), route.station)
    truth = spreads_over_time(route.path, route.power)
    wrong = []
    for instant in range(100, 700, 75):
        later = [instant + 100]
        time, place = route.time[later], route.position[later]
        ahead = forecast_with_map(
            found, power[instant], walls, CARRIER, time, place, instant=instant
        )
        strong = ahead.power > 10**-2.5 * ahead.power.max()
        each = spreads_over_time(ahead.path, np.where(strong, ahead.power, 0.0))
        exact = {name: getattr(truth, name)[later] for name in NAMES}
        wrong.append([abs(getattr(each, name)[0] / exact[name][0] - 1) for name in NAMES])
    median = dict(zip(NAMES, np.median(wrong, axis=0), strict=True))
    assert median["delay"] <= 0.10
    assert median["arrival_azimuth"] <= 0.20


@pytest.mark.slow
def test_the_study_runs_and_goes_on(tmp_path, capsys):
    arguments = [
        "reproduce", "isac-forecast", "--out", str(tmp_path / "study"), "--seconds", "14",
        "--horizon", "3,6", "--every", "3", "--quiet", "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    for user in ("given", "own"):
        for horizon in (3, 6):
            case = f"noise 1, {horizon} s, user {user}"
            assert told[f"{case}, map and anchors"]["delay"] >= 0
            assert set(told[f"{case}, frozen"]) == set(NAMES)
    file = tmp_path / "study/rows.jsonl"
    kept = file.read_text()
    assert len(kept.splitlines()) == 4
    assert (tmp_path / "study/forecast.png").stat().st_size > 10_000
    assert main(arguments) == 0  # nothing is measured again
    assert file.read_text() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--route", "a.npz"], "--route and --mesh go together"),
        (["--horizon", "5,x"], "--horizon needs different numbers above zero"),
        (["--noise", "1,1"], "--noise names a number twice"),
        (["--every", "0"], "--every must be at least 0.1, in s"),
        (["--seconds", "9"], "--seconds must be at least 23, in s"),
    ],
)
def test_what_makes_no_study_is_refused(tmp_path, capsys, arguments, message):
    code = main(["reproduce", "isac-forecast", "--out", str(tmp_path / "study"), *arguments])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
