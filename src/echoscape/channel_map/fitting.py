"""One door to every kind of map: by name, for all stations of a file, scored if wanted.

The score is honest in space: whole blocks of the area are left out, a map is fitted without them
and evaluated on them.  The map that is kept is fitted on everything.

Takes `Reports` and the name of a model.
Gives a map for each station, and scores.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import pydantic

from echoscape.channel_map.evaluation import evaluate, spatial_split
from echoscape.channel_map.extrapolated.map import ExtrapolatedSettings, fit_extrapolated
from echoscape.channel_map.learned.training import NetworkSettings, fit_network
from echoscape.channel_map.nearest_neighbours import NearestSettings, fit_nearest
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.scatterers.search import ScattererSettings, fit_scatterers
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorSettings, fit_virtual_anchors
from echoscape.checks import InputError
from echoscape.reports import Reports

Model = Literal["anchors", "scatterers", "nearest", "carried", "network", "network-mse"]
"""Names of models: geometry of walls and points, points alone for a world of single bounces,
interpolation, small campaigns, networks by likelihood or error."""

Progress = Callable[..., None]
"""Called with what is done, how much there is, and a few words."""


def fit_map(
    reports: Reports,
    model: Model = "anchors",
    *,
    station: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ChannelMap:
    """Fit a map of one station by the name of its model, with default settings.

    Args:
        reports: Reports of one or several stations.
        model: Which model.
        station: Which station; may be left out if there is only one.
        seed: Seed of the fit.
        progress: Called with epochs done and epochs in all, by the models that have epochs.
    """
    if model == "anchors":
        return fit_virtual_anchors(reports, station=station, seed=seed)
    if model == "scatterers":
        return fit_scatterers(reports, station=station, seed=seed)
    if model == "nearest":
        return fit_nearest(reports, station=station)
    if model == "carried":
        return fit_extrapolated(reports, station=station)

    def tell(done: int, total: int, loss: float) -> None:
        del loss
        if progress is not None:
            progress(done, total)

    return fit_network(
        reports,
        loss="squared" if model == "network-mse" else "likelihood",
        station=station,
        key=jax.random.key(seed),
        progress=tell,
    )


def model_settings(model: Model) -> dict[str, Any]:
    """Spell out the settings that `fit_map` uses, with the model's name."""
    settings: dict[Model, type[pydantic.BaseModel]] = {
        "anchors": VirtualAnchorSettings,
        "scatterers": ScattererSettings,
        "nearest": NearestSettings,
        "carried": ExtrapolatedSettings,
        "network": NetworkSettings,
        "network-mse": NetworkSettings,
    }
    return {"model": model, **settings[model]().model_dump(mode="json")}


def stations_heard(reports: Reports) -> tuple[str, ...]:
    """Name the stations that have any path, or refuse reports that have none at all."""
    some = np.asarray(reports.estimates.valid).any(axis=1)
    heard = {reports.station[index] for index in np.unique(reports.station_index[some])}
    if not heard:
        raise InputError("these reports hold no path at all; a map is learnt from paths")
    return tuple(name for name in reports.station if name in heard)


def fit_maps(
    reports: Reports,
    model: Model = "anchors",
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, ChannelMap]:
    """Fit a map for each station that was heard.

    Args:
        reports: Reports of one or several stations.
        model: Which model.
        seed: Seed of every fit.
        progress: Called with what is done, how much there is, and the station's name.
    """
    return {
        name: fit_map(reports, model, station=name, seed=seed, progress=_named(progress, name))
        for name in stations_heard(reports)
    }


def held_out_scores(
    reports: Reports,
    model: Model = "anchors",
    *,
    share: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Fit without whole blocks of the area and evaluate there, station by station.

    Args:
        reports: Reports of one or several stations.
        model: Which model.
        share: Share of the reports to hold out.
        seed: Seed of the split and of every fit.
        progress: As of `fit_maps`.

    Returns:
        The fields of an `Evaluation` for each station; stations with too little to split are
        left out.
    """
    held = spatial_split(reports.position, share, seed=seed)
    some = np.asarray(reports.estimates.valid).any(axis=1)
    scores = {}
    for name in stations_heard(reports):
        mine = some & (reports.station_index == reports.station.index(name))
        if (mine & held).any() and (mine & ~held).any():
            tell = _named(progress, f"{name}, scored")
            rest = select_reports(reports, ~held)
            fitted = fit_map(rest, model, station=name, seed=seed, progress=tell)
            found = evaluate(fitted, select_reports(reports, held))
            scores[name] = dataclasses.asdict(found)
    return scores


def select_reports(reports: Reports, keep: np.ndarray) -> Reports:
    """Keep some of the reports, with all stations."""
    return Reports(
        estimates=reports.estimates[keep],
        position=reports.position[keep],
        position_std=reports.position_std[keep],
        time=reports.time[keep],
        report=reports.report[keep],
        station_index=reports.station_index[keep],
        station_position=reports.station_position,
        station=reports.station,
    )


def _named(progress: Progress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(done, total, name)
