"""Fit any kind of map: one verb, the model is an object; for all stations, scored if wanted.

The score is honest in space: whole blocks of the area are left out, a map is fitted without them
and evaluated on them.  The map that is kept is fitted on everything.

Takes `Reports` and a `MapModel`.
Gives a map for each station, and scores.
"""

import dataclasses
import warnings
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from echoscape.channel_map.evaluation import evaluate, spatial_split
from echoscape.channel_map.extrapolated.map import Extrapolated
from echoscape.channel_map.learned.scatterer_network import ScattererNetwork
from echoscape.channel_map.learned.training import Network
from echoscape.channel_map.learned.virtual_anchor_network import VirtualAnchorNetwork
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.nearest_neighbours import NearestReports
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.scatterers.search import Scatterers
from echoscape.channel_map.station_reports import canonical_order, reports_of_station
from echoscape.channel_map.virtual_anchors.model import VirtualAnchors
from echoscape.checks import InputError, unknown_name
from echoscape.display import expect
from echoscape.progress import Progress, within
from echoscape.reports import Reports
from echoscape.reports.geometry import warn_of_findings
from echoscape.scene import StaticPoints

MODELS: dict[str, type[MapModel]] = {
    model.name: model
    for model in (
        VirtualAnchors,
        Scatterers,
        NearestReports,
        Extrapolated,
        Network,
        VirtualAnchorNetwork,
        ScattererNetwork,
    )
}
"""Every model by its name."""

OLD_NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "anchors": ("virtual-anchors", {}),
    "nearest": ("nearest-reports", {}),
    "carried": ("extrapolated", {}),
    "network-mse": ("network", {"loss": "squared"}),
}
"""Names of version 0.1, and what stands for them."""


def model_named(name: str, **settings: Any) -> MapModel:
    """Make a model by its name; a name of version 0.1 works and warns.

    Args:
        name: One of `MODELS`.
        settings: Fields of the model.

    Raises:
        InputError: The name is unknown, or a setting is.
    """
    from echoscape.checks import make_settings

    if name in OLD_NAMES:
        new, fixed = OLD_NAMES[name]
        shown = new + "".join(f" with {key} {value!r}" for key, value in fixed.items())
        warnings.warn(
            f"model {name!r} is deprecated and will be removed in the next version; use {shown}",
            DeprecationWarning,
            stacklevel=2,
        )
        name, settings = new, fixed | settings
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return make_settings(MODELS[name], settings)


def fit_map(
    reports: Reports,
    model: MapModel | str | None = None,
    *,
    station: str | None = None,
    key: PRNGKeyArray | None = None,
    start: StaticPoints | None = None,
    progress: Progress | None = None,
) -> ChannelMap:
    """Fit a map of one station.

    The order of the reports does not matter, nor that of paths with different powers.

    Args:
        reports: Reports of one or several stations.
        model: Which model, with its settings; virtual anchors unless given.
        station: Which station; may be left out if there is only one.
        key: Random key of the fit; the same key gives the same map.
        start: Static points to begin with, in the site's frame: of another map, of tracks, of an
            image, or of a site.
        progress: Called with what is done, how much there is, and the stage, where it takes long.

    Warns:
        GeometryWarning: Direct paths do not agree with the positions, and nobody said so yet.
    """
    if isinstance(model, str):
        model = model_named(model)
    expect(reports, Reports, "a channel map")
    warn_of_findings(reports)
    return fit_judged(reports, model, station=station, key=key, start=start, progress=progress)


def fit_judged(
    reports: Reports,
    model: MapModel | None = None,
    *,
    station: str | None = None,
    key: PRNGKeyArray | None = None,
    start: StaticPoints | None = None,
    progress: Progress | None = None,
) -> ChannelMap:
    """Fit a map like `fit_map`, to reports whose geometry the caller has checked."""
    return (model or VirtualAnchors()).fit(
        canonical_order(reports_of_station(reports, station)),
        key=jax.random.key(0) if key is None else key,
        start=start,
        progress=progress,
    )


def model_settings(model: MapModel) -> dict[str, Any]:
    """Spell out a model for a map's manifest: its name and every setting."""
    return {"model": model.name, **model.model_dump(mode="json")}


def stations_reported(reports: Reports) -> tuple[str, ...]:
    """Name the stations that have any path, or refuse reports that have none at all."""
    some = np.asarray(reports.estimates.valid).any(axis=1)
    present = {reports.station[index] for index in np.unique(reports.station_index[some])}
    if not present:
        raise InputError("these reports hold no path at all; a map is learnt from paths")
    return tuple(name for name in reports.station if name in present)


def fit_maps(
    reports: Reports,
    model: MapModel | None = None,
    *,
    key: PRNGKeyArray | None = None,
    start: StaticPoints | None = None,
    progress: Progress | None = None,
) -> dict[str, ChannelMap]:
    """Fit a map for each station that has paths.

    Args:
        reports: Reports of one or several stations.
        model: Which model, with its settings; virtual anchors unless given.
        key: Random key of every fit.
        start: Static points to begin with.
        progress: Called with what is done, how much there is, and the station's name.

    Warns:
        GeometryWarning: As `fit_map` does.
    """
    expect(reports, Reports, "fit_maps")
    warn_of_findings(reports)
    return {
        name: fit_judged(
            reports, model, station=name, key=key, start=start, progress=within(progress, name)
        )
        for name in stations_reported(reports)
    }


def held_out_scores(
    reports: Reports,
    model: MapModel | None = None,
    *,
    share: float = 0.2,
    seed: int = 0,
    key: PRNGKeyArray | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Fit without whole blocks of the area and evaluate there, station by station.

    Args:
        reports: Reports of one or several stations.
        model: Which model, with its settings; virtual anchors unless given.
        share: Share of the reports to hold out.
        seed: Seed of the split.
        key: Random key of every fit.
        progress: As of `fit_maps`.

    Returns:
        The fields of an `Evaluation` for each station; stations with too little to split are
        left out.
    """
    held = spatial_split(reports.position, share, seed=seed)
    some = np.asarray(reports.estimates.valid).any(axis=1)
    scores = {}
    for name in stations_reported(reports):
        mine = some & (reports.station_index == reports.station.index(name))
        if (mine & held).any() and (mine & ~held).any():
            rest = reports[~held]
            report = within(progress, f"{name}, scored")
            fitted = fit_judged(rest, model, station=name, key=key, progress=report)
            found = evaluate(fitted, reports[held])
            scores[name] = dataclasses.asdict(found)
    return scores
