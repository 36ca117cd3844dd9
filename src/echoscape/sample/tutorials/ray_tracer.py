# %% [markdown]
# # From a ray tracer's scenario to fixes
#
# You have paths of a ray tracer (DeepMIMO, Wireless InSite, Sionna RT, AODT) or of your program.
# You want to know where a target is that your base station cannot see. Four steps: import, look,
# learn, locate. The files here are small and made by us; put your own in their place.

# %%
import jax
import numpy as np

from echoscape import FixStatus, Reports, fit_map, localize, make_echoes, score
from echoscape.localization.bounds.fisher import map_bound
from echoscape.reports import import_reports
from echoscape.sample.examples import write_examples

jax.config.update("jax_enable_x64", True)
write_examples("try")  # leave this out for a folder of your own

# %% [markdown]
# ## Import
#
# The layout is found by itself, and every quantity says what it was taken from. A scenario folder
# of DeepMIMO 4 it is here; `import_reports("try/insite")` reads a project of Wireless InSite, and
# `import_reports("paths.csv")` any table with one row a path.

# %%
imported = import_reports("try/deepmimo")
for note in imported.notes:
    print(f"{note.quantity}: {note.taken}")
for finding in imported.findings():
    print(finding.sentence)
reports = imported.reports
print(reports)

# %% [markdown]
# Nothing was found wrong: where a user is in sight, its shortest path is as long as the straight
# line and points along it. A mirrored azimuth or a delay in the wrong unit would have been named
# here, with the cure.
#
# Paths of your own program come as arrays, one row a user and one column a path. Departure is at
# the station, azimuths count from +x counter-clockwise, zeniths from +z, all in radians.

# %%
paths = reports.estimates
same = Reports.from_arrays(
    position=reports.position,
    station_position=reports.station_position[0],
    station=reports.station[0],
    departure_azimuth=paths.departure_azimuth,
    departure_zenith=paths.departure_zenith,
    arrival_azimuth=paths.arrival_azimuth,
    arrival_zenith=paths.arrival_zenith,
    delay=paths.delay,
    power=paths.power,
    valid=paths.valid,
)
print(np.abs(same.estimates.length - paths.length).max(), "m between both ways")

# %% [markdown]
# ## Learn
#
# Eight users become passive targets: they send no report, and the map must not know them.

# %%
rich = np.flatnonzero(paths.valid.sum(axis=1) >= 4)
targets = reports[rich[::7][:8]]
rest = reports[np.setdiff1d(np.arange(len(reports)), rich[::7][:8])]
channel_map = fit_map(rest)
print(channel_map)

# %% [markdown]
# ## Locate
#
# Each target scatters what reaches it back along all ordered pairs of its paths, 25 echoes from
# five paths. Nothing says which echo belongs to which pair. Angles are measured to 0.02 rad and
# delays to 1 ns.

# %%
made = make_echoes(targets, jax.random.key(0), angle_std=0.02, delay_std=1e-9)
fix = localize(made.echoes, channel_map)
found = score(fix, targets.position)
print(f"median {found.median:.2f} m, worst tenth beyond {found.p90:.2f} m")
for number, place, spread, status in zip(fix.target, fix.best, fix.spread, fix.status):
    print(f"{number:2d} {place.round(2)} claims {spread:.2f} m, {FixStatus(status).name.lower()}")

# %% [markdown]
# A fix has a place, what it claims to be off by, alternatives where there are any, and a status.
# One of these is `unexplained`, for more than half of its echoes go by paths that no report near it
# held: sixty users are few. It is right all the same here, but the status says not to rely on it.

# %%
axes = fix.plot(maps=channel_map)
axes.plot(*targets.position[:, :2].T, "k+", label="truth")
axes.figure.savefig("fixes.png", dpi=120)

# %% [markdown]
# ## How well could anybody do
#
# The information bound of the same map at places on a grid: the root mean square error that no
# unbiased estimator goes below who receives every echo with these errors.

# %%
x, y = np.meshgrid(np.arange(-20.0, 21.0, 4.0), np.arange(-12.0, 13.0, 4.0), indexing="ij")
grid = np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)], axis=1)
bound = map_bound(channel_map, grid, angle_std=0.02, delay_std=1e-9, strongest=5)
print(f"median over the area {np.median(bound.root_trace):.2f} m")
axes = bound.plot(maps=channel_map)
axes.figure.savefig("bound.png", dpi=120)

# %% [markdown]
# ## The same by commands
#
#     echoscape examples try && cd try
#     echoscape reports import deepmimo --out users.parquet
#     echoscape map fit users.parquet --out map
#     echoscape locate echoes.parquet --map map --out fixes.parquet --figure
#
# Next: `echoscape tutorial samples` makes echoes from a receiver's samples instead of from truth,
# `echoscape tutorial clock-and-heading` says what to do when the station's clock is off.
