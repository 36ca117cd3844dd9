"""How fast are tracking and the channel model, beside tracing every position anew?

One core, warm, in seconds of the processor, so that other work beside it does not count.  The peer
traces positions of the sample city by images in its walls, the built-in way to get a channel
without a model; a full ray tracer takes tens of milliseconds a position.

    python benchmarks/tracking.py
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_model import Motion, RaySet, evolve, realize
from echoscape.numerics.particles import bootstrap_step, start_cloud
from echoscape.propagation.ray_cast import build_tree, cast
from echoscape.propagation.wall_images import launch, trace
from echoscape.scene import PlanarArray
from echoscape.studies.isac_channel.world import observe_route, sample_route
from echoscape.tracking import JointFilter, track
from echoscape.tracking.anchor import predict_path
from echoscape.tracking.bounce_filters import PathHistory, follow_bounces

jax.config.update("jax_enable_x64", True)


def seconds(call, repeat=3):
    """Time a call that has run before, the best of a few."""
    jax.block_until_ready(call())
    best = np.inf
    for _ in range(repeat):
        begin = time.process_time()
        jax.block_until_ready(call())
        best = min(best, time.process_time() - begin)
    return best


route, mesh = sample_route(60.0)
seen = observe_route(route, np.random.default_rng(0))
start = {"start": route.position[0], "start_velocity": route.velocity[0]}
for filter in (JointFilter(suspect_clock=False), JointFilter()):
    spent = seconds(lambda: track(seen, route.station, filter, **start).record.user)  # noqa: B023
    words = "with the one that suspects the clock" if filter.suspect_clock else "alone"
    print(f"joint filter, {words}: {len(route.time) / spent:,.0f} instants/s")

tree = build_tree(mesh)
rng = np.random.default_rng(0)
ahead = rng.normal(size=(100_000, 3)) * [1, 1, 0.3]
ahead = jnp.asarray(ahead / np.linalg.norm(ahead, axis=1, keepdims=True))
origin = jnp.tile(jnp.asarray(route.station), (100_000, 1))
spent = seconds(lambda: cast(tree, origin, ahead).distance)
print(f"ray casting, {len(mesh.face)} triangles: {100_000 / spent:,.0f} rays/s"
      f" ({'Embree' if tree.native is not None else 'built in'})")  # fmt: skip
if tree.native is not None:
    own = build_tree(mesh, native=False)
    slow = seconds(lambda: cast(own, origin, ahead).distance)
    print(f"built in: {100_000 / slow:,.0f} rays/s; Embree is {slow / spent:.1f} times as fast")

sequences = launch(mesh, tree, route.station, 100_000, 3)
place = route.position[::10]
retrace = seconds(
    lambda: trace(mesh, route.station, place, 28e9, sequences=sequences, tree=tree).length
)
retrace /= len(place)
print(f"tracing a position by images: {1e3 * retrace:.2f} ms")

count = 20
rays = RaySet(
    station=jnp.asarray(route.station),
    point=jnp.asarray(rng.uniform(-200, 200, (count, 3))),
    scattered=jnp.zeros(count, bool),
    rotation=jnp.asarray(rng.uniform(-3, 3, count)),
    reflection=jnp.ones(count),
    vertical_reflection=jnp.ones(count),
    time=jnp.array([0.0, 100.0]),
    gain_db=jnp.full((2, count), -60.0),
    presence=jnp.ones((2, count)),
)
motion = Motion(jnp.asarray(route.time), jnp.asarray(route.position), jnp.asarray(route.velocity))
many = jnp.linspace(0.0, 50.0, 10_000)


@eqx.filter_jit
def evolve_all(rays, when):
    from echoscape.channel_model import move

    return jax.vmap(lambda t: evolve(rays, *move(motion, t), t))(when)


spent = seconds(lambda: evolve_all(rays, many).length) / len(many)
print(f"evolving {count}: {1e6 * spent:.2f} us, {28e-3 / spent:,.0f} times below 28 ms, "
      f"{retrace / spent:,.0f} times than by images")  # fmt: skip
arrays = PlanarArray(8, 8), PlanarArray(4, 4)
few = many[:200]
key = jax.random.key(0)
spent = seconds(lambda: realize(rays, motion, few, 28e9, *arrays, key=key).coefficient) / len(few)
print(f"coefficients, 8x8 by 4x4: {1e3 * spent:.2f} ms, {28e-3 / spent:,.0f} times below")

particles, steps = 1000, 100
history = PathHistory(jnp.ones((steps, 5)), jnp.ones((steps, 5)), jnp.ones(steps, bool))
state = jnp.zeros(18).at[6].set(20.0).at[12].set(10.0)
follow = eqx.filter_jit(
    lambda key: follow_bounces(
        history, state, jnp.ones(18), jnp.asarray(route.station), jnp.asarray(0.0),
        jnp.asarray(0.1), "bootstrap", particles, key=key,
    )
)  # fmt: skip
spent = seconds(lambda: follow(key))
print(f"particles of 18 coordinates: {particles * steps / spent / 1e6:.2f} M particle-steps/s")

user, std = jnp.asarray(route.position[0]), jnp.array([0.3, 0.02, 0.02])


@eqx.filter_jit
def follow_anchor(key):
    cloud = start_cloud(jax.random.normal(key, (particles, 3)) + jnp.array([50.0, 20.0, 10.0]))

    def weigh(state):
        zero, one = jnp.array(0.0), jnp.array(1.0)

        def apart(anchor):
            local = jnp.concatenate([user, anchor, jnp.zeros(1)])
            found = predict_path(local, jnp.array(2), one, one, jnp.asarray(route.station))
            return -0.5 * jnp.sum(((found[:3] - zero) / std) ** 2)

        return 1e-6 * jax.vmap(apart)(state)

    def step(cloud, key):
        return bootstrap_step(
            cloud, lambda k, x: x + 0.01 * jax.random.normal(k, x.shape), weigh, key=key
        )

    return jax.lax.scan(step, cloud, jax.random.split(key, steps))[1]


spent = seconds(lambda: follow_anchor(key))
print(f"particles of one anchor: {particles * steps / spent / 1e6:.2f} M particle-steps/s")
