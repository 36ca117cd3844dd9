# %% [markdown]
# # The living map and the service
#
# Reports go on arriving, a reflector is taken away, another appears. A map can take later reports
# in without being fitted again, says what changed, and a store keeps which reports each of its
# versions was learnt from.

# %%
import dataclasses
import math

import jax
import numpy as np

from echoscape import fit_map, read_reports, save_maps
from echoscape.channel_map import update_map
from echoscape.communication.at_place import forecast_at
from echoscape.sample.examples import write_examples
from echoscape.scene import PlanarArray
from echoscape.units import wrap_angle

jax.config.update("jax_enable_x64", True)
write_examples("try")
first = read_reports("try/users.parquet")
channel_map = fit_map(first)
print(channel_map)

# %%
axes = channel_map.plot()
axes.figure.savefig("map.png", dpi=120)

# %% [markdown]
# ## What it predicts
#
# At any place: paths with directions, delays, powers, probabilities and what they are off by; for a
# station whose array is known also the best beams, for a user known to half a metre here.

# %%
arrays = {"roof": PlanarArray(4, 8, azimuth=math.radians(80.0), tilt=math.radians(8.0))}
here = forecast_at(
    {"roof": channel_map}, np.array([5.0, -3.0, 1.5]), position_std=0.5, arrays=arrays
)
for path in here.paths[:4]:
    print(f"{path.probability:.2f}  {np.degrees(path.departure_azimuth):7.2f} degree  "
          f"{1e9 * path.delay:6.2f} ns +- {1e9 * path.delay_std:.2f}")  # fmt: skip
print("beams:", [beam.beam for beam in here.beams])

# %% [markdown]
# ## Later reports, one reflector gone
#
# Forty users report later. In the meantime the scatterer at (11, 11) m was taken away, so we remove
# its path from their reports; the map is given nothing.

# %%
later = read_reports("try/held_out.parquet")
paths, away = later.estimates, np.array([11.0, 11.0]) - later.station_position[0, :2]
toward = np.arctan2(away[1], away[0])
gone = np.abs(wrap_angle(np.asarray(paths.departure_azimuth) - toward)) < 0.06
later = dataclasses.replace(
    later,
    time=later.time + 3600.0,
    estimates=dataclasses.replace(
        paths, valid=paths.valid & ~gone, power=np.where(gone, 0.0, paths.power)
    ),
)
newer, changes = update_map(channel_map, later)
print(changes)
for kind, place, missed in zip(changes.kind, changes.position, changes.missed):
    if kind != "found":
        print(f"{kind}: the point at {place.round(1)} m, {missed:.0f} hearings expected and missed")

# %% [markdown]
# A point is said to have vanished only when so many expected hearings failed to come that, were it
# there, this would happen once in a hundred batches of 1,500 reports (`false_alarm`,
# `per_reports`). The first is the scatterer. The others are virtual anchors that explained some of
# its paths: from a few places a scatterer and a mirror look alike.
#
# ## Keep reports and versions
#
# A store takes what comes once, finds it by station, time and area, and knows the reports behind
# each version of a map. It needs `pip install 'echoscape[store]'`.

# %%
from echoscape.store import Store, add_map, add_reports, count_rows, list_maps

store = Store.create("sqlite:///site.db")
print(add_reports(store, first, "Monday"), add_reports(store, first, "Monday"))
print(add_reports(store, later, "Tuesday"))
save_maps(channel_map, "monday")
save_maps(newer, "tuesday")
add_map(store, "monday", "yard", report_count=len(first))
add_map(store, "tuesday", "yard", report_count=len(first) + len(later))
for version in list_maps(store):
    print(version.name, version.version, version.report_count, "reports")
print(count_rows(store))
store.close()

# %% [markdown]
# ## Serve it
#
# The same store answers over HTTP: reports come in, jobs fit and update maps, targets are located
# at once, a page asks what the map predicts at a place.
#
#     echoscape serve --store sqlite:///site.db
#     curl -H "Authorization: Bearer $TOKEN" \
#         -H "Content-Type: application/vnd.apache.parquet" --data-binary @held_out.parquet \
#         "http://127.0.0.1:8750/v1/reports?source=walk"
#     curl -H "Authorization: Bearer $TOKEN" -X POST -d '{"kind": "update", "map": "yard"}' \
#         -H "Content-Type: application/json" http://127.0.0.1:8750/v1/jobs
#
# Requests and scopes: [service](../service.md); what a store keeps: [stores](../store.md).
