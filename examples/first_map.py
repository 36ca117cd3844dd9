"""From users' reports to the places of targets that nobody can see, in a real city."""

import jax

from echoscape import fit_map, load_sample, localize, make_echoes, score

jax.config.update("jax_enable_x64", True)
reports, targets, _ = load_sample()
channel_map = fit_map(reports)
made = make_echoes(targets, jax.random.key(0), angle_std=0.05, delay_std=5e-9)
fix = localize(made.echoes, {channel_map.station: channel_map}, height=1.5)
print(f"median error {score(fix, targets.position).median:.2f} m")
