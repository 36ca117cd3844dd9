# %% [markdown]
# # From a measured campaign to leave-one-out
#
# A sounder was carried through a room or a yard and listed some paths at each of thirty poses. How
# well could each pose be found from all the others? No ray tracer, no walls, no labels.

# %%
import jax
import numpy as np

from echoscape.localization.user.cross_validation import leave_one_out
from echoscape.reports import import_reports
from echoscape.sample.examples import write_examples

jax.config.update("jax_enable_x64", True)
write_examples("try")  # leave this out for a campaign of your own

# %% [markdown]
# ## Read the campaign
#
# One row a path, in whatever units and names the sounder writes; `campaign.csv` is in degrees,
# metres and decibels. The notes say what each column was taken for.

# %%
imported = import_reports("try/campaign.csv")
for note in imported.notes:
    print(f"{note.quantity}: {note.taken}")
poses = imported.reports
print(poses)

# %% [markdown]
# ## Leave one out
#
# For every pose a map is learnt from the others, and the pose is located from what the station
# measured: departure angles and delays, never its own arrival angles or powers. The map of small
# campaigns, `extrapolated`, moves each reported path along with the user; how far that may be
# trusted is learnt from the campaign itself. Every third pose is enough for a first look.

# %%
few = poses[np.arange(0, len(poses), 3)]
result = leave_one_out(few)
for name, error in result.distances().items():
    print(f"{name}: {np.median(error):.2f} m median, {error.max():.2f} m at most")

# %% [markdown]
# Beside the map stand two things that need none: the other pose that matches best, and the end of
# the shortest path taken for a straight line. These poses lie about four metres apart, so the best
# matching other pose cannot be nearer than that.
#
# How wide the claims must be was learnt, too, and whether they hold is the share of poses inside
# the claimed region, which is what a reviewer will ask for.

# %%
errors = result.errors
print(f"learnt: {float(errors.azimuth):.3f} rad, {float(errors.length):.2f} m")
off = result.fix.best[:, :2] - result.position[:, :2]
inside = np.einsum(
    "pi,pij,pj->p", off, np.linalg.inv(result.fix.covariance[:, 0, :2, :2]), off
) < -2 * np.log(0.1)
print(f"{inside.sum()} of {len(inside)} poses are in the 90 % ellipse of their best mode")

# %%
axes = result.fix.plot()
axes.plot(*result.position[:, :2].T, "k+", label="truth")
axes.figure.savefig("left_out.png", dpi=120)

# %% [markdown]
# ## The same by commands
#
#     echoscape examples try && cd try
#     echoscape reports import campaign.csv --out campaign.parquet
#     echoscape map leave-one-out campaign.parquet --out left_out.parquet --figure
#
# `--unknown user-clock,user-heading` estimates what each pose does not know of itself. More on
# campaigns, and on power alone: [measured campaigns](../measured.md).
