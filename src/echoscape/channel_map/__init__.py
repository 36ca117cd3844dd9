"""From reports to the channel map: models, training, evaluation, priors for communication.

Takes `Reports`.
Gives a `ChannelMap`: position to `PathPrior`.
"""

from echoscape.channel_map.extrapolated.map import (
    ExtrapolatedMap,
    ExtrapolatedSettings,
    fit_extrapolated,
)
from echoscape.channel_map.learned.network import NetworkMap
from echoscape.channel_map.learned.training import NetworkSettings, fit_network
from echoscape.channel_map.nearest_neighbours import NearestMap, NearestSettings, fit_nearest
from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.scatterers.map import ScattererMap
from echoscape.channel_map.scatterers.search import ScattererSettings, fit_scatterers
from echoscape.channel_map.storage import data_hash, load_manifest, load_maps, save_maps
from echoscape.channel_map.virtual_anchors.map import (
    VirtualAnchorMap,
    VirtualAnchorSettings,
    fit_virtual_anchors,
)

__all__ = [
    "ChannelMap",
    "ExtrapolatedMap",
    "ExtrapolatedSettings",
    "NearestMap",
    "NearestSettings",
    "NetworkMap",
    "NetworkSettings",
    "PathPrior",
    "ScattererMap",
    "ScattererSettings",
    "VirtualAnchorMap",
    "VirtualAnchorSettings",
    "data_hash",
    "fit_extrapolated",
    "fit_nearest",
    "fit_network",
    "fit_scatterers",
    "fit_virtual_anchors",
    "load_manifest",
    "load_maps",
    "save_maps",
]


def __dir__() -> list[str]:
    return sorted(__all__)
