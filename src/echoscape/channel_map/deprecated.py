"""Names of version 0.1 in Python: they work for one version and say what replaces them.

Takes a name of before.
Gives what replaces it, with a `DeprecationWarning`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax

from echoscape.channel_map.extrapolated.map import Extrapolated, ExtrapolatedMap
from echoscape.channel_map.fitting import fit_map
from echoscape.channel_map.learned.training import Network
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.nearest_neighbours import NearestReports
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.scatterers.search import Scatterers
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.virtual_anchors.model import VirtualAnchors
from echoscape.reports import Reports

_CLASSES: dict[str, type] = {
    "AnchorMap": VirtualAnchorMap,
    "AnchorSettings": VirtualAnchors,
    "CarriedMap": ExtrapolatedMap,
    "CarriedSettings": Extrapolated,
    "NearestSettings": NearestReports,
    "NetworkSettings": Network,
    "ScattererSettings": Scatterers,
}
_FITS: dict[str, type[MapModel]] = {
    "fit_anchors": VirtualAnchors,
    "fit_carried": Extrapolated,
    "fit_nearest": NearestReports,
    "fit_network": Network,
    "fit_scatterers": Scatterers,
}
_FIELDS = {
    "listed": "reported_paths",
    "sway": "position_jitter",
    "least_followers": "min_paths",
    "enough_explained": "min_explained",
}


def replacement(name: str) -> Any:
    """Give what stands for a name of version 0.1, or raise `AttributeError`."""
    if name in _CLASSES:
        new = _CLASSES[name]
        _warn(name, new.__name__)
        return new if not issubclass(new, MapModel) else _renaming(new)
    if name in _FITS:
        _warn(name, f"fit_map(reports, {_FITS[name].__name__}())")
        return _fit_by(_FITS[name])
    raise AttributeError(f"module 'echoscape.channel_map' has no attribute {name!r}")


def _renaming(model: type[MapModel]) -> Callable[..., MapModel]:
    return lambda **fields: model(**{_FIELDS.get(key, key): fields[key] for key in fields})


def _fit_by(model: type[MapModel]) -> Callable[..., ChannelMap]:
    def fit(
        reports: Reports, *, station=None, settings=None, seed=0, key=None, loss=None, progress=None
    ) -> ChannelMap:
        chosen = settings or model()
        if loss is not None:
            chosen = chosen.model_copy(update={"loss": loss})
        key = jax.random.key(seed) if key is None else key
        return fit_map(reports, chosen, station=station, key=key, progress=progress)

    return fit


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is deprecated and will be removed in the next version; use {new}",
        DeprecationWarning,
        stacklevel=4,
    )
