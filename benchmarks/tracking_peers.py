"""How fast are the particle filter and channel generation, beside libraries that do the same?

Peers are `particles` (bootstrap filter) and `quadriga-lib` (channels of spherical waves); each is
left out, with a sentence, where it is not installed.  One core, warm, one run, in seconds of the
processor.

    python benchmarks/tracking_peers.py
"""

import importlib
import importlib.util
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_model import Motion, RaySet, realize
from echoscape.numerics.particles import bootstrap_step, start_cloud
from echoscape.scene import PlanarArray

jax.config.update("jax_enable_x64", True)
COUNT, STEPS, ERROR = 1000, 100, 0.2
FORWARD = np.kron(np.array([[1.0, 0.5], [0.0, 1.0]]), np.eye(2))
PUSH = np.kron(np.array([[0.125], [0.5]]), 0.1 * np.eye(2))
FIRST = np.array([0.0, 1.0, 0.6, -0.2])


def seconds(call, repeat=5):
    """Time a call that has run before, the best of a few."""
    jax.block_until_ready(call())
    best = np.inf
    for _ in range(repeat):
        begin = time.process_time()
        jax.block_until_ready(call())
        best = min(best, time.process_time() - begin)
    return best


rng = np.random.default_rng(0)
state, seen = FIRST, []
for _ in range(STEPS):
    state = FORWARD @ state + PUSH @ rng.normal(size=2)
    seen.append(state[:2] + ERROR * rng.normal(size=2))
seen = np.array(seen)


@eqx.filter_jit
def ours(key):
    """Follow a walk in the plane."""

    def step(cloud, instant):
        value, key = instant

        def move(key, state):
            return state @ FORWARD.T + jax.random.normal(key, (COUNT, 2)) @ PUSH.T

        def weigh(state):
            return -0.5 * jnp.sum((state[:, :2] - value[None]) ** 2, axis=1) / ERROR**2

        cloud, _ = bootstrap_step(cloud, move, weigh, key=key)
        return cloud, cloud.mean

    start = FIRST[None] + 0.1 * jax.random.normal(key, (COUNT, 4))
    return jax.lax.scan(step, start_cloud(start), (seen, jax.random.split(key, STEPS)))[1]


mine = seconds(lambda: ours(jax.random.key(0)))
print(f"particle filter, 4 coordinates: {COUNT * STEPS / mine / 1e6:.2f} M particle-steps/s")
if importlib.util.find_spec("particles") is None:
    print("`particles` is not installed, so there is no ratio")
else:
    particles = importlib.import_module("particles")
    models = importlib.import_module("particles.state_space_models")
    law = importlib.import_module("particles.distributions")

    class Walk(models.StateSpaceModel):
        """The same walk, as `particles` has it."""

        def PX0(self):
            """Start."""
            return law.MvNormal(
                loc=FORWARD @ FIRST, scale=1.0, cov=0.01 * FORWARD @ FORWARD.T + push
            )

        def PX(self, t, xp):
            """Move."""
            return law.MvNormal(loc=xp @ FORWARD.T, scale=1.0, cov=push)

        def PY(self, t, xp, x):
            """Observe."""
            return law.MvNormal(loc=x[:, :2], scale=ERROR, cov=np.eye(2))

    push = PUSH @ PUSH.T + 1e-9 * np.eye(4)  # it factorises the covariance

    def theirs():
        """Run it."""
        model = models.Bootstrap(ssm=Walk(), data=list(seen))
        filter_ = particles.SMC(fk=model, N=COUNT, resampling="systematic", ESSrmin=0.5)
        filter_.run()
        return np.zeros(1)

    peer = seconds(theirs)
    print(f"`particles`: {COUNT * STEPS / peer / 1e6:.2f} M, ours {peer / mine:.1f} times as fast")

paths, instants = 20, 100
point = rng.uniform(-200, 200, (paths, 3)) + np.array([0, 0, 10.0])
station, user = np.array([0.0, 0.0, 10.0]), np.array([40.0, 25.0, 1.5])
rays = RaySet(
    station=jnp.asarray(station), point=jnp.asarray(point), scattered=jnp.ones(paths, bool),
    rotation=jnp.zeros(paths), reflection=jnp.ones(paths),
    vertical_reflection=jnp.ones(paths),
    time=jnp.array([0.0, 1.0]), gain_db=jnp.full((2, paths), -60.0), presence=jnp.ones((2, paths)),
)  # fmt: skip
velocity = np.array([1.0, 0.3, 0.0])
when = np.linspace(0.0, 1.0, instants)
motion = Motion(
    jnp.array([0.0, 1.0]), jnp.asarray(np.stack([user, user + velocity])),
    jnp.asarray(np.stack([velocity] * 2)),
)  # fmt: skip
arrays, key = (PlanarArray(8, 8), PlanarArray(4, 4)), jax.random.key(0)
moments = jnp.asarray(when)
mine = seconds(lambda: realize(rays, motion, moments, 28e9, *arrays, key=key).coefficient)
mine /= instants
print(f"coefficients, 8x8 by 4x4, {paths} paths: {1e3 * mine:.3f} ms an instant")
if importlib.util.find_spec("quadriga_lib") is None:
    print("`quadriga-lib` is not installed, so there is no ratio")
else:
    library = importlib.import_module("quadriga_lib").arrayant
    wavelength = 299_792_458.0 / 28e9

    def antenna(array):
        """Make omnidirectional elements at the same places."""
        one = library.generate("omni", 10.0)
        many = array.elements
        place = np.array(array.positions()).T * wavelength
        made = {k: np.asarray(v) for k, v in one.items() if k.endswith("grid")}
        for name in ("e_theta_re", "e_theta_im", "e_phi_re", "e_phi_im"):
            made[name] = np.repeat(
                np.asarray(one[name]).reshape(*np.shape(one[name])[:2], 1), many, 2
            )
        return made | {"element_pos": place, "coupling_re": np.eye(many), "center_freq": 28e9}

    ends = [antenna(array) for array in arrays]
    moved = user + when[:, None] * velocity
    matrix = np.zeros((8, paths))
    matrix[0], matrix[6] = 1.0, -1.0

    def theirs():
        """Make the same channel, instant after instant."""
        for place in moved:
            length = np.linalg.norm(point - station, axis=1) + np.linalg.norm(point - place, axis=1)
            found = library.get_channels_spherical(
                *ends, point.T.copy(), point.T.copy(), np.full(paths, 1e-6), length, matrix,
                station, np.zeros(3), place, np.zeros(3), 28e9, True,
            )  # fmt: skip
        return np.asarray(found[0]) + 1j * np.asarray(found[1])

    peer = seconds(theirs, 3) / instants
    print(f"`quadriga-lib`: {1e3 * peer:.3f} ms, ours {peer / mine:.1f} times as fast")
    made = np.asarray(realize(rays, motion, moments, 28e9, *arrays, key=key).coefficient)[-1]
    turn = theirs() * made.conj()
    turn /= np.abs(turn)
    apart = np.abs(np.angle(turn / turn[:1, :1])).max()  # relative to the first pair of elements
    print(f"  the same channel: phases across the arrays differ by {apart:.1e} rad at most;")
    print("  it also interpolates antenna patterns, which are omnidirectional here")
