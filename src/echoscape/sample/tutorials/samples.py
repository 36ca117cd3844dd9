# %% [markdown]
# # Echoes from samples, and estimators against the bound
#
# A MIMO-OFDM radar gives samples, a channel from every transmitting to every receiving antenna on
# every subcarrier. Where do echoes come from, how exact are they, and how exact could they be?

# %%
import dataclasses

import jax
import numpy as np

from echoscape import Site
from echoscape.estimation import Esprit, Fft, Greedy, estimate
from echoscape.sample.examples import write_examples
from echoscape.scene import PlanarArray
from echoscape.signals import Waveform, sample_scene
from echoscape.signals.scene_echoes import fitting_spacing
from echoscape.units import length_of

jax.config.update("jax_enable_x64", True)
write_examples("try")
site = Site.from_toml("try/site.toml")
array = PlanarArray(2, 4, azimuth=site.array[0].azimuth, tilt=site.array[0].tilt)
site = dataclasses.replace(site, array=(array,))  # a smaller one than in the file: quicker
print(site.station, array)

# %% [markdown]
# ## Samples with a known answer
#
# One target in the courtyard, seen over its strongest single path out and back, and twelve
# snapshots that differ in noise alone: so the spread of the estimates is their error. Pilots must
# be close enough that no echo of this site folds in delay.

# %%
target = np.tile([[6.0, -4.0, 1.5]], (12, 1))
spacing = fitting_spacing(site, target, 32)
waveform = Waveform(32, spacing)
print(f"32 subcarriers, {1e-3 * spacing:.0f} kHz apart; delays repeat after "
      f"{1e9 * waveform.unambiguous_delay:.0f} ns")  # fmt: skip


def samples(snr):
    return sample_scene(
        site, waveform, target, key=jax.random.key(1), paths=1, clutter=False, snr_db=snr,
        random_phases=False,
    )  # fmt: skip


print(samples(20.0).received.shape, "snapshot, receive, transmit, subcarrier")

# %% [markdown]
# ## Three estimators
#
# `greedy` finds one echo after the other off the grid, moves all together, and stops where noise
# begins; `esprit` (and `music`) look at the subspace of smoothed samples; `fft` picks peaks. Each
# says what it is off by: the joint Cramér-Rao bound of the echoes it found. Here is the scatter of
# the delay beside that claim, as lengths.

# %%
methods = {"greedy": Greedy(most=4), "esprit": Esprit(most=4, sources=1), "fft": Fft(most=4)}
print("SNR [dB]  method   found  scatter [m]  bound [m]")
for snr in (10.0, 20.0, 30.0):
    received = samples(snr)
    for name, method in methods.items():
        echo = estimate(received, method=method)
        strongest = echo.power.argmax(axis=1)
        row = np.arange(len(strongest))
        seen = echo.valid[row, strongest]
        delay = echo.delay[row, strongest][seen]
        claim = np.median(echo.length_std[row, strongest][seen]) if seen.any() else np.nan
        scatter = length_of(np.std(delay)) if seen.sum() > 2 else np.nan
        print(f"{snr:8.0f}  {name:8s} {seen.sum():2d}/12 {scatter:12.3f} {claim:10.3f}")

# %% [markdown]
# At 10 dB the echo rarely stands out of the noise: `greedy` and `fft` hold to their rate of false
# alarms and say nothing, `esprit` assumes one echo and gives the noise's. From 20 dB
# on `greedy`, whose echoes move together to the top of the likelihood, reaches the bound (twelve
# snapshots tell a scatter to a fifth); the others claim the same and keep less.
#
# ## From echoes to fixes
#
# What was estimated has targets, times and stations again, and goes where made echoes go:
#
#     echoscape echoes sample site.toml --targets targets.csv --snr 15 --out samples.npz
#     echoscape estimate samples.npz --out detected.parquet
#     echoscape locate detected.parquet --map map --out fixes.parquet
#
# `echoscape locate samples.npz` skips the echoes and judges every place by the samples
# themselves. What the samples mean, and recordings as SigMF: [signals](../signals.md).
