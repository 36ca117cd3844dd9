# %% [markdown]
# # What an unknown clock and heading do, and how they are learnt
#
# Angles count from where the station's array looks, delays from when its clock says that the pulse
# left. If either is off, every path is off alike. What does that do to a map, and who notices?

# %%
import dataclasses

import jax
import numpy as np

from echoscape.channel_map.calibration import calibrate
from echoscape.reports import check_geometry, import_reports
from echoscape.sample.examples import write_examples
from echoscape.units import delay_of, length_of, wrap_angle

jax.config.update("jax_enable_x64", True)
write_examples("try")
reports = import_reports("try/insite").reports
print(reports)

# %% [markdown]
# ## Break it
#
# We turn the array by two degrees and let the clock run 10 ns late, without telling anybody. Angles
# have errors of half a degree and lengths of 15 cm besides.

# %%
turn, late = np.radians(2.0), 10e-9
paths, generator = reports.estimates, np.random.default_rng(0)
noise = generator.normal(size=(3, *paths.length.shape)) * paths.valid
wrong = dataclasses.replace(
    reports,
    estimates=dataclasses.replace(
        paths,
        departure_azimuth=wrap_angle(
            paths.departure_azimuth + turn * paths.valid + 0.009 * noise[0]
        ),
        departure_zenith=paths.departure_zenith + 0.009 * noise[2],
        length=paths.length + length_of(late) * paths.valid + 0.15 * noise[1],
    ),
)

# %% [markdown]
# ## Who notices
#
# Users in sight do: their first path must point at them and be as long as the way is. The check
# looks at all of them together, so a bias of a fraction of one path's error shows. `echoscape
# reports check` and `echoscape map fit` print the same sentences.

# %%
for finding in check_geometry(wrong):
    print("-", finding.sentence)
print(len(check_geometry(reports)), "findings before it was broken")

# %% [markdown]
# ## Learn it
#
# Declared as unknown, clock and heading are estimated from the same users and taken off, and the
# deviations of what is left grow by what remains unsure. Nothing else about the reports changes.

# %%
mended, found = calibrate(wrong, ["station-clock", "station-heading"])
for station, bias in found.items():
    for name, value in bias.items():
        print(station, name, f"{value:.3g}")

# %%
valid = np.asarray(paths.valid)
left = wrap_angle(mended.estimates.departure_azimuth - paths.departure_azimuth)[valid].mean()
print(f"heading: {np.degrees(np.abs(left)):.2f} degree of 2 are left")
left = delay_of(mended.estimates.length - paths.length)[valid].mean()
print(f"clock: {1e9 * np.abs(left):.2f} ns of 10 are left")

# %% [markdown]
# ## What cannot be learnt
#
# - Users without a line of sight tell a heading only through heights, and a clock hardly: a map of
#   virtual anchors turns with the array, and its anchors move away with the clock.
# - The clock of the *station* cannot be separated from clocks that all *users* have of their own.
# - A map that is fitted to wrong reports explains them perfectly well. Only echoes or users that
#   were measured otherwise disagree with it; `localize` then says `BIASED`.
#
# Which combinations are unidentifiable, and why: [what is unidentifiable](../unidentifiable.md).
#
# ## The same by commands
#
#     echoscape map fit users.parquet --unknown station-clock,station-heading --out map
#     echoscape locate echoes.parquet --map map --unknown clock,heading --out fixes.parquet
#     echoscape map leave-one-out campaign.parquet --unknown user-clock,user-heading --out o.parquet
#
# The second line is for a station whose map is right and whose clock has moved since.
