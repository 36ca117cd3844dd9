# %% [markdown]
# # Imaging with real position errors
#
# Users send pilots, stations receive them by way of everything that scatters, and what scatters
# becomes an image. A coherent image needs every path's phase, so users' positions to a hundredth of
# a wavelength, a tenth of a millimetre at 28 GHz. Nobody has that. What then?

# %%
import dataclasses

import jax
import numpy as np

from echoscape import image
from echoscape.imaging.choice import choose_solver
from echoscape.studies.occlusion_imaging.field_world import make_field_world, score_points

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A scene
#
# A hall of 10 m by 10 m by 6 m in voxels of 1 m: sixteen scatterers anywhere between the grid's
# centres, ten users, four stations of 4 by 4 antennas, eight subcarriers over 400 MHz. What blocks
# a path is simulated, too. Users' positions are wrong by 10 cm a coordinate, ten wavelengths, and
# user and station keep no common phase.
# Samples of your own go into `imaging.Snapshots`: received, pilots, users, antennas, frequencies.

# %%
world = make_field_world(
    {"tones": 8, "off_grid": 0.5, "link_phase": True, "user_error": 0.1, "seed": 0}
)
grid, stated = world.grid, world.snapshots
print(stated.received.shape, "station, antenna, pilot, subcarrier;", grid.voxels, "voxels")
error = np.linalg.norm(stated.user_position - world.user, axis=1)
print(f"users are off by {100 * error.mean():.0f} cm on average")

# %% [markdown]
# ## Say what is not exact
#
# If nobody says that anything is wrong, phases are trusted. With the deviation stated and phases
# named as unknown, another solver is chosen, which tells places by delay.

# %%
trusted = dataclasses.replace(stated, user_position_std=None)
for snapshots, unknown in ((trusted, ()), (stated, world.unknown)):
    solver, why = choose_solver(snapshots, unknown)
    print(f"{type(solver).__name__}: {why}")

# %%
found = image(stated, grid, unknown=world.unknown)
score = score_points(world, found)
certificate = found.certificate
print(f"F1 {score['f1']:.2f}; scatterers placed to {100 * score['position_error']:.1f} cm")
print(
    f"certificate {'holds' if certificate.holds else 'does not hold'}: misfit "
    f"{certificate.misfit:.3f}, noise alone explains {certificate.limit:.3f}"
)
print(f"{found.status}: {found.status.advice}")

# %%
axes = found.plot(user_position=stated.user_position)
axes.figure.savefig("image.png", dpi=120)

# %% [markdown]
# Scatterers are placed ten times better than users are known, for many users see each, and the
# users' places are estimated with the image.
#
# ## Believe the certificate
#
# The certificate asks whether what the image leaves unexplained is noise and no more. It needs no
# truth, so it works on measured data; a picture that looks right and is not certified is a picture.
#
# ## By commands
#
#     echoscape pilots make site.toml --edge 4 --out snapshots.npz --truth truth.npz
#     echoscape image snapshots.npz --origin -24,-16,0 --shape 12,8,2 --edge 4 --out image.npz \
#         --figure image.png
#     echoscape score image.npz truth.npz
#
# `--unknown position` states ten centimetres where the file states nothing, `--prior surface`
# expects boxes and walls. Which solver suits what: [choosing](../choosing.md).
