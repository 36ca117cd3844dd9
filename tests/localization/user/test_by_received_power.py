"""The map of received power alone, and places found by it."""

from pathlib import Path

import numpy as np
import pytest

from echoscape.channel_map.received_power import fit_signal_strength
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.localization import localize
from echoscape.localization.user.by_received_power import leave_blocks_out

TRANSMITTER = np.array([[0.3, 0.2, 2.0], [9.1, 0.6, 2.5], [8.4, 6.3, 2.2], [0.8, 5.9, 2.4]])
FLAT = Path(__file__).parents[4] / "shared/data/measured/ble_rss_flat"


def world(count, seed, noise=2.0, shadow=4.0):
    """Make a hall with oblique ripples of shadow, different for every transmitter."""
    rng = np.random.default_rng(seed)
    place = np.column_stack(
        [rng.uniform(0, 9, count), rng.uniform(0, 6.5, count), 0 * np.ones(count)]
    )
    turn = np.array([0.4, 1.3, 2.2, 2.9])
    along = np.cos(turn) * place[:, :1] + np.sin(turn) * place[:, 1:2]
    away = np.linalg.norm(place[:, None] - TRANSMITTER[None], axis=2)
    mean = -45.0 - 22.0 * np.log10(away) + shadow * np.sin(1.6 * along + np.arange(4))
    return place, mean + noise * rng.normal(size=mean.shape), mean


@pytest.fixture(scope="module")
def learnt():
    place, level, _ = world(500, 1)
    return fit_signal_strength(place, level, TRANSMITTER)


def test_levels_are_predicted_as_well_as_claimed(learnt):
    place, _, truth = world(300, 2)
    mean, std = learnt.predict(place)
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.7  # the ripples have 2.8 dB, readings 2
    assert 0.6 < np.sqrt(np.mean((mean - truth) ** 2 / std**2)) < 1.2
    assert all(1.5 < widths.reading < 2.5 for widths in learnt.widths)


def test_a_map_of_every_reading_is_the_posterior_by_brute_force():
    place, level, _ = world(40, 3)
    far = np.array([[4.0, 3.0, 0.0], [7.5, 1.0, 0.0]])
    known = fit_signal_strength(place, level, TRANSMITTER)
    mean, std = known.predict(far)
    # The same process written down as one joint Gaussian, for the second transmitter.
    one = known.learnt[1]
    both = np.concatenate([one.place, far])
    apart = np.sqrt(3) * np.linalg.norm(both[:, None] - both[None], axis=2) / one.widths.length
    line = np.log10(np.linalg.norm(both - TRANSMITTER[1], axis=1))
    joint = one.widths.shadow**2 * (1 + apart) * np.exp(-apart) + 900 * (1 + np.outer(line, line))
    root = np.tril(one.factor)
    inside = root @ root.T
    gain = joint[-2:, :-2] @ np.linalg.inv(inside)
    assert np.allclose(joint[:-2, :-2][~np.eye(len(inside), dtype=bool)],
                       inside[~np.eye(len(inside), dtype=bool)])  # fmt: skip
    values = inside @ one.weight
    assert np.allclose(mean[:, 1], one.mean + gain @ values)
    cut = joint[-2:, -2:] - gain @ joint[:-2, -2:]
    assert np.allclose(std[:, 1] ** 2, np.diag(cut), rtol=1e-5)


def test_places_come_out_within_what_is_claimed(learnt):
    place, level, _ = world(300, 4)
    level[::3, 1] = np.nan
    fix = localize(level, learnt)
    away = (place - fix.best)[:, :2]
    inverse = np.linalg.inv(fix.covariance[:, 0, :2, :2])
    inside = np.einsum("ri,rij,rj->r", away, inverse, away) < -2 * np.log(0.1)
    assert np.median(np.linalg.norm(away, axis=1)) < 1.3  # 2.6 from the middle
    assert 0.88 < inside.mean() < 0.99
    alone = localize(level[7:8], learnt)
    assert np.allclose(alone.best, fix.best[7:8])


@pytest.mark.slow
def test_squares_left_out_are_unknown_to_the_map():
    place, level, _ = world(240, 5)
    found = leave_blocks_out(place, level, TRANSMITTER, block=2.0, folds=3)
    inside = leave_blocks_out(place, level, TRANSMITTER, block=0.01, folds=3)
    rms = [np.sqrt(np.mean(each.miss**2)) for each in (inside, found)]
    assert rms[0] < 0.93 * rms[1]
    assert np.array_equal(found.fix.target, np.arange(240))
    error = found.distances()
    assert np.median(error["map"]) < np.median(error["nearest readings"])


def test_bad_readings_are_refused(learnt):
    place, level, _ = world(30, 6)
    with pytest.raises(InputError, match="one column for each of 4"):
        fit_signal_strength(place, level[:, :3], TRANSMITTER)
    with pytest.raises(InputError, match="finite coordinates"):
        fit_signal_strength(np.where(place == place[3], np.nan, place), level, TRANSMITTER)
    quiet = np.where(np.arange(4) == 2, np.nan, level)
    with pytest.raises(InputError, match="transmitter 3 needs at least 10"):
        fit_signal_strength(place, quiet, TRANSMITTER)
    with pytest.raises(InputError, match="the map's 4 transmitters"):
        localize(level[:, :3], learnt)
    with pytest.raises(InputError, match="as many squares"):
        leave_blocks_out(place, level, TRANSMITTER, block=50.0)


@pytest.mark.slow
def test_the_command_reads_a_campaign_and_says_what_is_wrong(tmp_path, capsys):
    place, level, _ = world(100, 7)
    rows = ["x,y,rssi_a,rssi_b,rssi_c,rssi_d"]
    rows += [",".join(f"{v:.2f}" for v in (*p[:2], *r)) for p, r in zip(place, level)]
    rows[4] = rows[4].rsplit(",", 1)[0] + ","
    (tmp_path / "levels.csv").write_text("\n".join(rows))
    where = [f"{name},{x},{y},{z}" for name, (x, y, z) in zip("abcd", TRANSMITTER)]
    (tmp_path / "where.csv").write_text("\n".join(["id,x,y,z", *where]))
    words = ["map", "signal-strength", tmp_path / "levels.csv", "--transmitters",
             tmp_path / "where.csv", "--out", tmp_path / "fix.csv", "--quiet"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    assert "m median" in capsys.readouterr().out
    assert len((tmp_path / "fix.csv").read_text().splitlines()) > 100
    (tmp_path / "where.csv").write_text("\n".join(["id,x,y,z", "q,1,2,3"]))
    assert main([str(word) for word in words]) != 0
    assert "needs a column 'rssi_q'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not FLAT.exists(), reason="the shared data are not here")
def test_a_measured_flat():
    from echoscape.reports.strength_file import read_strength

    flat = read_strength(FLAT / "calibration_df.csv", FLAT / "anchors.csv")
    found = leave_blocks_out(flat.position, flat.level, flat.transmitter)
    error = found.distances()
    assert np.sqrt(np.nanmean(found.miss**2)) < 4.9
    assert np.median(error["map"]) < 1.0 < np.median(error["nearest readings"])
