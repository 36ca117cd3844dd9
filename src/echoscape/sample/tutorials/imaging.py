# %% [markdown]
# # Imaging with real position errors
#
# Users send pilots, a station receives them by way of everything that scatters, and what scatters
# becomes an image. A coherent image needs every path's phase, so users' positions to a hundredth of
# a wavelength, a tenth of a millimetre at 28 GHz. Nobody has that. What then?

# %%
import dataclasses

import jax
import numpy as np

from echoscape import Site, image
from echoscape.imaging.choice import choose_solver
from echoscape.imaging.scores import score_image
from echoscape.imaging.site_scene import ScenePlan, simulate_site
from echoscape.sample.examples import write_examples

jax.config.update("jax_enable_x64", True)
write_examples("try")
site = Site.from_toml("try/site.toml")

# %% [markdown]
# ## A scene
#
# The courtyard in voxels of 4 m: eight scatterers, twelve users at random free places, eight
# subcarriers over the site's 400 MHz. `simulate_site` makes what the station receives, occlusion
# included.

# %%
grid, snapshots, truth = simulate_site(site, ScenePlan(edge=4.0, subcarriers=8))
coefficient = truth.coefficient.reshape(grid.shape)
in_range = truth.in_range.reshape(grid.shape)
print(snapshots.received.shape, "station, antenna, pilot, subcarrier;", grid.voxels, "voxels")

# %% [markdown]
# ## Positions that are 10 cm off
#
# The station believes where users say they are; each coordinate is wrong by some 10 cm, ten
# wavelengths. First nobody says so.

# %%
generator = np.random.default_rng(3)
moved = dataclasses.replace(
    snapshots,
    user_position=snapshots.user_position
    + 0.1 * generator.normal(size=snapshots.user_position.shape),
)
print(choose_solver(moved)[1])

# %% [markdown]
# Now we state the deviation, and another solver is chosen: delays instead of phases.

# %%
stated = dataclasses.replace(moved, user_position_std=np.full(len(moved.user_position), 0.1))
solver, why = choose_solver(stated)
print(type(solver).__name__, "-", why)

# %%
found = image(stated, grid)
scores = score_image(found, coefficient, in_range)
certificate = found.certificate
print(f"{scores.found} of {scores.occupied} scatterers in sight found, {scores.false} false")
print(f"certificate {'holds' if certificate.holds else 'does not hold'}: misfit "
      f"{certificate.misfit:.2f}, noise alone explains {certificate.limit:.2f}")  # fmt: skip
print(found.status.name, "-", found.status.advice)

# %%
axes = found.plot(user_position=stated.user_position)
axes.figure.savefig("image.png", dpi=120)

# %% [markdown]
# ## Believe the certificate
#
# The certificate asks whether what the image leaves unexplained is noise and no more. It needs no
# truth, so it works on measured data; a picture that looks right and is not certified is a picture.
# With a wrong deviation (or none) it says that more than noise is left.
#
# ## The same by commands
#
#     echoscape pilots make site.toml --edge 4 --subcarriers 8 --out snapshots.npz --truth truth.npz
#     echoscape image snapshots.npz --origin -24,-16,0 --shape 12,8,2 --edge 4 --unknown position \
#         --out image.npz --figure image.png
#     echoscape score image.npz truth.npz
#
# `--prior surface` expects boxes and walls. Which solver suits what: [choosing](../choosing.md).
