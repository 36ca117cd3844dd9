"""What a user's uncertain position costs the three uses of a map in communication.

Beams tried, the channel from pilots, and delay alignment, each against the error of the position
that the station believes, for the map learnt from 1,000 reports, the exact one, and the nearest
report.

Takes a layout's seed and a position error.
Gives rows (one to two minutes a point) and a figure.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure

from echoscape.channel_map import NearestReports, fit_map
from echoscape.communication.beams import _steer, expected_covariance, expected_powers, prior_near
from echoscape.communication.channel_estimation import informed_pilots, prior_estimate
from echoscape.communication.delay_alignment import (
    TappedPaths,
    align,
    aligned_rate,
    choose_alignment,
    expected_paths,
)
from echoscape.scene.antenna import dft_codebook
from echoscape.studies.nlos_ckm.square_scene import (
    LISTED,
    exact_map,
    learn_square,
    square_paths,
    square_places,
    square_reports,
    square_site,
)
from echoscape.studies.sweep import Row, Setting

BANDWIDTH = 100e6
"""Of delay alignment [Hz]."""
SNR = 10.0
"""Of the channel with all of the array's gain, and of a pilot: 10 dB [1]."""
POSITION_STD = (0.0, 1.0, 3.0, 10.0)
"""Errors of the estimated position, in each coordinate [m]."""


def points(quick: bool, seed: int) -> list[Setting]:
    """List the points: layouts, position errors and maps."""
    layouts, users, reports = (1, 16, 100) if quick else (4, 300, 1000)
    errors = (1.0,) if quick else POSITION_STD
    return [
        {"layout": seed * 1000 + layout, "position_std": std, "users": users, "reports": reports}
        for layout in range(layouts)
        for std in errors
    ]


def measure(setting: Setting) -> list[Row]:
    """Measure one layout at one position error, for each map."""
    site = square_site(setting["layout"])
    key = jax.random.key(setting["layout"] + 17)
    learnt = square_reports(
        site, square_places(setting["layout"], setting["reports"]), jax.random.fold_in(key, 0)
    )
    place = square_places(setting["layout"] + 500, setting["users"])
    paths = square_paths(site, place, jax.random.fold_in(key, 1))
    shift = jax.random.normal(jax.random.fold_in(key, 2), place.shape) * jnp.array(
        [[1.0, 1.0, 0.0]]
    )
    estimated = place + setting["position_std"] * shift
    maps: dict[str, Any] = {
        "exact": exact_map(site, place),
        "scatterers": learn_square(learnt),
        "nearest report": fit_map(learnt, NearestReports(neighbours=1)),
    }
    array = site.array[0]
    std = jnp.asarray(setting["position_std"], float)
    rows = []
    for name, predict in maps.items():
        found = _serve(predict, array, paths, estimated, std, jax.random.fold_in(key, 3))
        rows.append({"map": name, **{k: float(np.mean(v)) for k, v in found.items()}})
    return rows


def _serve(predict, array, paths, estimated, std, key) -> dict[str, np.ndarray]:
    """Serve every user: power lost, channel error, pilots needed, rates."""
    codebook = jnp.asarray(dft_codebook(1, array.elements))
    scale = jnp.sqrt(jnp.sum(jnp.where(paths.valid, paths.power, 0.0), axis=1))

    def one(row):
        truth, place, _ = row
        spread = prior_near(predict, place, std)
        there = predict(place)
        total = jnp.sum(there.probability * there.power)
        loss = _beams(spread, array, codebook, truth)
        expected = _expected(there, array, total)
        nodes, weight = _nodes(predict, place, std, array, total)
        budget = jnp.asarray(SNR / array.elements)
        width = jnp.asarray(BANDWIDTH)
        chosen, _ = choose_alignment(expected, nodes, weight, width, budget)
        naive = align(expected, jnp.ones(LISTED))
        strongest = align(expected, jnp.eye(LISTED)[0])
        rate = lambda plan: aligned_rate(truth, plan, width, budget)  # noqa: E731
        return {
            "loss": loss, "rate": rate(chosen), "rate_all_paths": rate(naive),
            "rate_one_path": rate(strongest),
            "rate_known": rate(align(truth, jnp.ones(LISTED))),
        }  # fmt: skip

    def pilots(row, few):
        truth, place, key = row
        return _pilots(prior_near(predict, place, std), array, truth, key, few)

    gain = jnp.where(paths.valid, paths.gain, 0.0) / scale[:, None]
    steering = jax.vmap(lambda azimuth, zenith: _steer(array, azimuth, zenith))(
        paths.departure_azimuth, paths.departure_zenith
    )
    keys = jax.random.split(key, len(estimated))
    rows = TappedPaths(gain, steering, paths.delay), estimated, keys
    # Programs apart: on two cores, factorisations side by side in one can wait for each other
    # forever (jaxlib 0.10).
    found = [
        jax.jit(lambda rows, each=each: jax.lax.map(each, rows, batch_size=8))(rows)
        for each in (one, lambda row: pilots(row, False), lambda row: pilots(row, True))
    ]
    return {name: np.asarray(values) for some in found for name, values in some.items()}


def _beams(spread, array, codebook, truth: TappedPaths):
    """Share of the rate that is lost when only the three most promising beams are tried."""
    power = jnp.abs(jnp.conj(codebook) @ truth.steering.T) ** 2 @ jnp.abs(truth.gain) ** 2
    order = jnp.argsort(-expected_powers(spread, array, codebook))[:3]
    rate = lambda power: jnp.log2(1.0 + SNR * power / array.elements)  # noqa: E731
    return 1.0 - rate(jnp.max(power[order])) / rate(jnp.max(power))


def _pilots(spread, array, truth: TappedPaths, key, few: bool) -> dict[str, Array]:
    """Squared errors relative to the channel: a pilot an element, with map or without; or eight."""
    size = array.elements
    channel = truth.gain @ truth.steering
    covariance = expected_covariance(spread, array)
    covariance = covariance * size / jnp.maximum(jnp.real(jnp.trace(covariance)), 1e-30)
    parts = jax.random.normal(key, (2, size)) / jnp.sqrt(2 * SNR)
    noise = parts[0] + 1j * parts[1]
    variance = jnp.asarray(1.0 / SNR)
    square = lambda item: jnp.sum(jnp.abs(item) ** 2) / size  # noqa: E731
    if few:
        informed = informed_pilots(covariance, 8)
        found = prior_estimate(covariance, informed, informed @ channel + noise[:8], variance)
        return {"nmse_8_pilots": square(found - channel)}
    whole = jnp.eye(size, dtype=noise.dtype)
    found = prior_estimate(covariance, whole, channel + noise, variance)
    return {"nmse": square(found - channel), "nmse_without_map": square(noise)}


def _expected(prior, array, total) -> TappedPaths:
    steering = _steer(
        array, jnp.asarray(prior.departure_azimuth), jnp.asarray(prior.departure_zenith)
    )
    scaled = eqx.tree_at(lambda p: p.power, prior, prior.power / jnp.maximum(total, 1e-30))
    return expected_paths(scaled, steering, LISTED)


def _nodes(predict, place, std, array, total):
    """Predict the channel at nine points of a Gauss-Hermite rule over the position."""
    east, north = jnp.meshgrid(jnp.arange(-1.0, 2.0), jnp.arange(-1.0, 2.0), indexing="ij")
    step = jnp.sqrt(3.0) * std * jnp.stack([east, north, 0.0 * east], axis=-1).reshape(9, 3)
    weight = jnp.outer(jnp.array([1.0, 4.0, 1.0]), jnp.array([1.0, 4.0, 1.0])).ravel() / 36
    return jax.vmap(lambda s: _expected(predict(place + s), array, total))(step), weight


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Draw the three uses against the position error."""
    figure = Figure(figsize=(11.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    colors = {"exact": "#000000", "scatterers": "#0072B2", "nearest report": "#E69F00"}
    stds = sorted({row["position_std"] for row in rows})
    for name, color in colors.items():
        mean = lambda column, name=name: np.array([  # noqa: E731
            np.mean([r[column] for r in rows if r["map"] == name and r["position_std"] == s])
            for s in stds
        ])  # fmt: skip
        style = {"color": color, "marker": "o", "ms": 4}
        panels[0].plot(stds, 100 * mean("loss"), label=name, **style)
        panels[1].plot(stds, 10 * np.log10(mean("nmse")), label=name, **style)
        panels[1].plot(stds, 10 * np.log10(mean("nmse_8_pilots")), ls="--", **style)
        panels[2].plot(stds, mean("rate"), label=name, **style)
        panels[2].plot(stds, mean("rate_all_paths"), ls=":", **style)
    panels[1].axhline(-10.0, color="#999999", lw=1, label="no map, 64")
    panels[0].set(ylabel="rate lost, three beams tried [%]", ylim=(0, None))
    panels[1].set(ylabel="channel error [dB]")
    panels[1].set_title("solid: 64 pilots; dashed: 8", fontsize=9)
    panels[2].set(ylabel="rate [bit/s/Hz]")
    panels[2].set_title("solid: paths chosen; dotted: all paths", fontsize=9)
    for panel in panels:
        panel.set_xlabel("position error [m]")
        panel.legend(fontsize=7)
    return {"communication": figure}
