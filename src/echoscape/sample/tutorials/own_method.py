# %% [markdown]
# # Your own map model, your own localizer
#
# A method of yours stands beside ours when it has the same two faces: a *model* makes a map from
# reports, a *localizer* makes fixes from measurements and maps. Everything else, scores, figures,
# files, chunks and progress, comes with them.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from echoscape import Echoes, Fix, FixStatus, Paths, localize, make_echoes, read_reports, score
from echoscape.channel_map import ChannelMap, MapModel
from echoscape.localization import Localizer
from echoscape.localization.localizer import Batch
from echoscape.sample.examples import write_examples

jax.config.update("jax_enable_x64", True)
write_examples("try")
reports = read_reports("try/users.parquet")

# %% [markdown]
# ## A map
#
# A map is a frozen class with three fields and one function: a place in, predicted paths out, with
# a probability and a covariance of (azimuth, zenith, length) each. It must be pure and work under
# `jit` and `vmap`. This one repeats the nearest report, the less sure the farther away.


# %%
class CopiedMap(ChannelMap):
    station: str = eqx.field(static=True)
    station_position: jax.Array
    report_position: jax.Array
    paths: Paths
    angle: float

    def __call__(self, position):
        apart = jnp.linalg.norm(self.report_position - position, axis=1)
        near = jnp.argmin(apart)
        said = jax.tree.map(lambda column: column[near], self.paths)
        angle = 0.02 + self.angle * apart[near]
        length = 0.2 + apart[near]
        covariance = jnp.diag(jnp.array([1.0, 1.0, 0.0]) * angle**2).at[2, 2].set(length**2)
        return Paths(
            departure_azimuth=said.departure_azimuth,
            departure_zenith=said.departure_zenith,
            length=said.length,
            power=said.power,
            probability=jnp.where(said.valid, 0.9, 0.0),
            covariance=jnp.broadcast_to(covariance, (len(said.length), 3, 3)),
        )


# %% [markdown]
# Its model holds the settings, which are checked, and fits.


# %%
class Copied(MapModel):
    name = "copied"
    angle: float = pydantic.Field(default=0.03, gt=0)
    """Error of an angle that grows by so much a metre [rad/m]."""

    def fit(self, reports, *, key, start=None, progress=None):
        del key, progress
        self.refuse_start(start)
        return CopiedMap(
            reports.station[0],
            jnp.asarray(reports.station_position[0]),
            jnp.asarray(reports.position),
            jax.tree.map(jnp.asarray, reports.estimates),
            self.angle,
        )


copied = Copied().fit(reports, key=jax.random.key(0))
print(copied(jnp.array([5.0, -3.0, 1.5])).departure_azimuth.shape, "paths at a place")
try:
    Copied(angle=-1.0)
except pydantic.ValidationError as error:
    print(error.errors()[0]["msg"])

# %% [markdown]
# Our localizer takes it at once; what a target's echoes say is weighed against what your map
# claims, so a map that claims too much is punished by its errors.

# %%
targets = read_reports("try/targets.parquet")[np.arange(8)]
made = make_echoes(targets, jax.random.key(0), angle_std=0.02, delay_std=1e-9)
fix = localize(made.echoes, copied)
print(f"our localizer, your map: median {score(fix, targets.position).median:.2f} m")

# %% [markdown]
# ## A localizer
#
# Three steps: `prepare` what depends on maps alone, `batch` the measurements of all targets into
# arrays, `search` some targets at a time and `conclude` with fixes. This one takes the shortest
# echo for the straight way out and back, as one would without a map.


# %%
class Straight(Localizer):
    name = "straight"
    measurements = (Echoes,)
    needs = "echoes (Echoes)"
    std: float = pydantic.Field(default=3.0, gt=0)
    """What it claims to be off by [m]."""

    def prepare(self, maps, height, measurements):
        return next(iter(maps.values()))

    def batch(self, prepared, measurements):
        station = np.asarray(prepared.station_position)

        def search(paths):
            length = np.where(paths.valid, paths.length, np.inf)
            row, first = np.arange(len(length)), np.argmin(length, axis=1)
            azimuth, zenith = (
                paths.departure_azimuth[row, first],
                paths.departure_zenith[row, first],
            )
            way = np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth),
                            np.cos(zenith)], axis=1)  # fmt: skip
            return station + 0.5 * length[row, first, None] * way

        def conclude(place):
            count, one = len(place), np.ones((len(place), 1))
            covariance = np.zeros((count, 1, 3, 3))
            covariance[..., [0, 1], [0, 1]] = self.std**2
            return Fix(
                np.asarray(measurements.target), place[:, None], covariance, 0.0 * one, one,
                one.astype(int), np.ones(count, int), np.full(count, FixStatus.LOCATED), one > 0,
            )  # fmt: skip

        return Batch(len(measurements.target), measurements.estimates, search, conclude)


fix = localize(made.echoes, copied, method=Straight())
found = score(fix, targets.position)
print(f"your localizer: median {found.median:.2f} m, 90 % claims hold for {found.inside_90:.0%}")

# %% [markdown]
# Score, figures (`fix.plot()`) and `write_fixes` need nothing else. To have a map saved and loaded,
# register its class by `channel_map.storage.storable("copied")`. Frozen tasks that others compete
# on are listed by `echoscape bench list`.
