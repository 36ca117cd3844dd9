# %% [markdown]
# # Beams and pilots from a map
#
# A map that predicts paths knows which beams serve a user before any pilot is sent. How many beams
# must be tried, and how few pilots give the channel?

# %%
import jax
import jax.numpy as jnp
import numpy as np

from echoscape import Site, fit_map, read_reports
from echoscape.communication.beams import (
    expected_covariance,
    measured_powers,
    prior_near,
    rank_beams,
    rank_like_nearest,
    score_beams,
    straight_line,
)
from echoscape.communication.channel_estimation import (
    informed_pilots,
    least_squares,
    prior_estimate,
)
from echoscape.sample.examples import write_examples
from echoscape.scene import dft_codebook, steering_vector

jax.config.update("jax_enable_x64", True)
write_examples("try")
channel_map = fit_map(read_reports("try/users.parquet"))
users = read_reports("try/held_out.parquet")
array = Site.from_toml("try/site.toml").array[0]
codebook = np.asarray(dft_codebook(array.rows, array.columns))
print(len(users), "users that the map has not met,", len(codebook), "beams")

# %% [markdown]
# ## Beams
#
# Each user's place is known to one metre. The map integrates over that and orders the beams by the
# power it expects; beside it stand the best beams of the nearest report, and the direction to the
# user. The score asks how often the best of all beams is among the first one, three, five.

# %%
generator = np.random.default_rng(0)
place = users.position + np.array([1.0, 1.0, 0.0]) * generator.normal(size=users.position.shape)
std = np.ones(len(place))
at = jnp.asarray(place), jnp.asarray(std), array, codebook
power = measured_powers(users.estimates, array, codebook)
direct = straight_line(channel_map.station_position)
orders = {
    "map": rank_beams(channel_map.predictor(), *at),
    "nearest report": rank_like_nearest(read_reports("try/users.parquet"), place, array, codebook),
    "direction": rank_beams(direct, *at),
}
for name, order in orders.items():
    found = score_beams(order, power)
    share = ", ".join(f"{100 * s:.0f} % of {n}" for n, s in zip(found.tried, found.found))
    print(f"{name:14s} best beam among the first: {share}; {found.loss[1]:.2f} dB lost with 3")

# %% [markdown]
# With a report every three metres the nearest one knows as much as the map here. The map gains
# where reports are sparser, beams narrower, or powers are needed and not an order alone, as below.
#
# ## Pilots
#
# The map expects a covariance of the channel, and the linear estimate with that covariance needs
# only as many pilots as the channel has directions. Six pilots along the expected directions,
# or six single elements, at 10 dB an element.

# %%
wide = jnp.asarray(0.3)
near = jax.jit(lambda x: expected_covariance(prior_near(channel_map.predictor(), x, wide), array))
channels, few = [], 6
for k in range(8):
    paths, valid = users.estimates, np.flatnonzero(users.estimates.valid[k])
    phase = np.exp(2j * np.pi * generator.random(len(valid)))
    way = paths.departure_azimuth[k, valid], paths.departure_zenith[k, valid]
    steering = np.asarray(jax.vmap(lambda *angles: steering_vector(array, *angles))(*way))
    channels.append((np.sqrt(paths.power[k, valid]) * phase) @ steering)
error = {"map": [], "no map": []}
for k, channel in enumerate(channels):
    noise = float(np.mean(np.abs(channel) ** 2)) / 10
    level = jnp.asarray(noise)
    covariance = near(jnp.asarray(users.position[k]))
    for name, pilots in (
        ("map", np.asarray(informed_pilots(covariance, few))),
        ("no map", np.eye(len(channel), dtype=complex)[:: len(channel) // few][:few]),
    ):
        draw = generator.normal(size=(2, few))
        received = pilots @ channel + np.sqrt(noise / 2) * (draw[0] + 1j * draw[1])
        if name == "map":
            guess = prior_estimate(covariance, jnp.asarray(pilots), jnp.asarray(received), level)
        else:
            guess = least_squares(jnp.asarray(pilots), jnp.asarray(received))
        wrong = np.sum(np.abs(np.asarray(guess) - channel) ** 2) / np.sum(np.abs(channel) ** 2)
        error[name].append(wrong)
for name, values in error.items():
    print(f"{few} pilots, {name}: error {10 * np.log10(np.mean(values)):.1f} dB of the channel")

# %% [markdown]
# Measured against position errors, and delay alignment, which gives every path a beam and a time:
# [communication](../communication.md). Over HTTP the same comes from `GET /v1/forecast`.
