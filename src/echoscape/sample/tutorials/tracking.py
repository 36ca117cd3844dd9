# %% [markdown]
# # Track a walk, then make its channels
#
# A user walks round a corner. At every instant its receiver lists paths: angles, delays, no
# identities, some missed. Only the start is known. Out come the user's track, the static points
# that its paths seem to come from, and a channel in between the instants, as fine as you like.

# %%
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from echoscape import read_echoes, read_observations, track
from echoscape.channel_model import rays_from_tracks, read_motion, realize
from echoscape.cli import main
from echoscape.sample.examples import write_examples
from echoscape.scene import PlanarArray
from echoscape.tracking import write_tracks, write_user

jax.config.update("jax_enable_x64", True)
write_examples("try")
seen = read_observations("try/observations.parquet")
print(seen)

# %% [markdown]
# ## Follow
#
# The joint filter estimates user and points together and marginalises which detection belongs to
# which point. It knows where the station is, where the walk starts and its first velocity.

# %%
station = np.array([120.4, 222.4, 10.0])
tracks = track(
    seen, station, start=np.array([96.0, 52.0, 1.2]), start_velocity=np.array([0.19, 0.98, 0.0])
)
print(tracks)
user = np.asarray(tracks.record.user)[:, :3]
spread = np.sqrt(np.asarray(tracks.record.user_covariance)[:, [0, 1], [0, 1]].sum(axis=1))
print(f"walked {np.linalg.norm(user[-1] - user[0]):.1f} m, claims {spread[-1]:.2f} m at the end")

# %%
axes = tracks.plot()
axes.figure.savefig("walk.png", dpi=120)

# %% [markdown]
# ## A communication channel
#
# Every confirmed point is a ray that evolves exactly as the user moves: phase, delay and angles at
# any rate. Here 100 samples a second to an array of 2 by 2.

# %%
pathlib.Path("walk").mkdir(exist_ok=True)
write_tracks(tracks, seen, "walk/tracks.parquet")
write_user(tracks, "walk/user.parquet")
motion = read_motion("walk/user.parquet")
instants = np.asarray(motion.time)
rays = rays_from_tracks("walk/tracks.parquet", instants, None, station)
when = jnp.arange(instants[0], instants[0] + 2.0, 0.01)
one, four = PlanarArray(1, 1), PlanarArray(2, 2)
channel = realize(rays, motion, when, 28e9, four, one, key=jax.random.key(0))
print(channel.coefficient.shape, "instant, receive, transmit, path")
power = np.sum(np.abs(np.asarray(channel.coefficient)) ** 2, axis=-1).mean(axis=(1, 2))
print(f"mean power {10 * np.log10(power.mean()):.1f} dB")

# %%
axes = channel.plot()
axes.figure.savefig("channel.png", dpi=120)

# %% [markdown]
# ## A sensing channel
#
# The same points carry the station's pulse to a target and its echo back. Somebody else walks ten
# metres beside our user; the command is called here, and would be typed in a terminal. A person has
# the cross-section of 3GPP TR 38.901.

# %%
beside = np.c_[instants, user + np.array([10.0, 0.0, 0.0])][::10]
np.savetxt("target.csv", beside, header="time,x,y,z", comments="", delimiter=",")
command = (
    "sense walk --targets target.csv --type human --times 0,5 --carrier 28e9 --station "
    "120.4,222.4,10 --angle-std 0.01 --delay-std 1e-9 --echoes sensed.parquet --quiet"
)
main(command.split())
print(read_echoes("sensed.parquet"))

# %% [markdown]
# [Sensing](../sensing.md) says what is in it, [conventions](../conventions.md) what the signs mean.
#
# ## The same by commands
#
#     echoscape track observations.parquet --station 120.4,222.4,10 --start 96,52,1.2 \
#         --start-velocity 0.19,0.98,0 --out tracks
#     echoscape channel tracks --carrier 28e9 --station 120.4,222.4,10 --out channel.npz
