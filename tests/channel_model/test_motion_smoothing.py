"""Motion of a filter for channels: no Doppler that the motion does not allow, or one sentence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion, rays_from_points, read_motion, realize
from echoscape.channel_model.motion_smoothing import ACCELERATION, jump_speeds, settle
from echoscape.checks import InputError
from echoscape.scene import PlanarArray, StaticPoints
from echoscape.units import wavelength_of

STEP, COUNT, CARRIER = 0.1, 200, 28e9
SPEED = np.array([0.9, 0.5, 0.0])


def filtered(seed=0):
    """Filter positions of a straight walk, measured to 0.3 m, at constant velocity."""
    generator = np.random.default_rng(seed)
    time = STEP * np.arange(COUNT)
    truth = np.array([3.0, -2.0, 1.2]) + time[:, None] * SPEED
    forward = np.kron(np.array([[1.0, STEP], [0.0, 1.0]]), np.eye(3))
    push = np.array([[STEP**3 / 3, STEP**2 / 2], [STEP**2 / 2, STEP]])
    noise = np.kron(push, np.diag(np.square(ACCELERATION)))
    see = np.eye(3, 6)
    mean = np.concatenate([truth[0], SPEED])
    spread = np.diag([0.05, 0.05, 0.05, 0.1, 0.1, 0.01]) ** 2
    means, spreads = [], []
    for place in truth + 0.3 * generator.normal(size=truth.shape):
        mean, spread = forward @ mean, forward @ spread @ forward.T + noise
        gain = spread @ see.T @ np.linalg.inv(see @ spread @ see.T + 0.09 * np.eye(3))
        mean, spread = mean + gain @ (place - mean[:3]), (np.eye(6) - gain @ see) @ spread
        means.append(mean)
        spreads.append(0.5 * (spread + spread.T))
    means = np.array(means)
    motion = Motion(jnp.asarray(time), jnp.asarray(means[:, :3]), jnp.asarray(means[:, 3:]))
    return motion, np.array(spreads), truth


def beyond_the_limit(motion):
    """Find the share of power at Doppler shifts that the walk's own speed does not allow."""
    point = StaticPoints.scatterers(np.array([[60.0, 30.0, 4.0]]), log_gain=np.zeros(1))
    rays = rays_from_points(point, np.array([0.0, 0.0, 10.0]), (0.0, 20.0))
    when = 2.0 + jnp.arange(4096) / 400.0
    one = PlanarArray()
    made = realize(rays, motion, when, CARRIER, one, one, key=jax.random.key(0))
    taper = np.hanning(4096)
    spectrum = np.abs(np.fft.fft(np.asarray(made.coefficient)[:, 0, 0, 0] * taper)) ** 2
    shift = np.abs(np.fft.fftfreq(4096, 1 / 400.0))
    # the walk's speed, the third of a m/s that the filter's own error may add, four bins of taper
    limit = (np.linalg.norm(SPEED) + 0.3) / wavelength_of(CARRIER) + 4 * 400.0 / 4096
    return float(spectrum[shift > limit].sum() / spectrum.sum())


def test_a_smoothed_motion_has_no_doppler_beyond_its_speed():
    motion, spread, truth = filtered()
    before, allowed = jump_speeds(motion, np.array(ACCELERATION))
    assert before.max() > allowed.max()
    smooth = settle(motion, spread, "here")
    after, _ = jump_speeds(smooth, np.array(ACCELERATION))
    assert after.max() < 0.2 * allowed.max()
    assert beyond_the_limit(motion) > 0.03
    assert beyond_the_limit(smooth) < 1e-4
    # better, not only smoother
    error = [
        np.linalg.norm(np.asarray(m.position) - truth, axis=1).mean() for m in (motion, smooth)
    ]
    assert error[1] < 0.8 * error[0]


def test_a_motion_without_jumps_stays_as_it_is_and_jumps_without_covariance_are_refused():
    motion, spread, truth = filtered()
    straight = Motion(motion.time, jnp.asarray(truth), jnp.broadcast_to(SPEED, truth.shape))
    assert settle(straight, spread, "here") is straight
    with pytest.raises(InputError, match=r"x.csv jumps between .* write it by echoscape track"):
        settle(motion, None, "x.csv")
    # a user moved by 30 m at once, and sure of it, stays a jump
    place = np.asarray(motion.position) + 30.0 * (np.arange(COUNT) >= 100)[:, None]
    moved = dataclasses.replace(motion, position=jnp.asarray(place))
    with pytest.raises(InputError, match=r"jumps between 9\.\d+ and"):
        settle(moved, spread, "here")


def test_a_table_of_a_filter_is_smoothed_as_it_is_read(tmp_path):
    motion, spread, _ = filtered()
    axes = ("x", "y", "z", "vx", "vy", "vz")
    values = np.concatenate([np.asarray(motion.position), np.asarray(motion.velocity)], axis=1)
    columns = {"time": np.asarray(motion.time), **dict(zip(axes, values.T))}
    for i in range(6):
        for j in range(i, 6):
            name = f"cov_{axes[i]}{axes[j]}" if j < 3 else f"cov_{axes[i]}_{axes[j]}"
            columns[name] = spread[:, i, j]
    columns["status"] = ["tracked"] * COUNT
    lines = [",".join(columns)]
    lines += [",".join(str(each[k]) for each in columns.values()) for k in range(COUNT)]
    (tmp_path / "user.csv").write_text("\n".join(lines) + "\n")
    expected = settle(motion, spread, "here")
    found = read_motion(tmp_path / "user.csv")
    assert np.allclose(found.position, expected.position, atol=1e-9)
    (tmp_path / "filter.json").write_text('{"acceleration": 40.0, "vertical_acceleration": 2.0}')
    assert np.allclose(read_motion(tmp_path / "user.csv").position, motion.position)
