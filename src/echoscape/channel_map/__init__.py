"""From reports to the channel map: models, training, evaluation, priors for communication.

A model is an object with its settings: ``fit_map(reports, VirtualAnchors())``.  Which to take:
`VirtualAnchors` where walls reflect, `Scatterers` where single points do, `Extrapolated` for small
campaigns in furnished rooms, `NearestReports` and `Network` where no geometry is assumed,
`VirtualAnchorNetwork` and `ScattererNetwork` for geometry learnt by gradients.

Takes `Reports`.
Gives a `ChannelMap`: position to `PathPrior`.
"""

import importlib
from typing import Any

from echoscape.channel_map.extrapolated.map import Extrapolated, ExtrapolatedMap
from echoscape.channel_map.fitting import fit_map, fit_maps
from echoscape.channel_map.learned.network import NetworkMap
from echoscape.channel_map.learned.scatterer_network import ScattererNetwork, ScattererNetworkMap
from echoscape.channel_map.learned.training import Network
from echoscape.channel_map.learned.virtual_anchor_network import (
    VirtualAnchorNetwork,
    VirtualAnchorNetworkMap,
)
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.nearest_neighbours import NearestMap, NearestReports
from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.scatterers.map import ScattererMap
from echoscape.channel_map.scatterers.search import Scatterers
from echoscape.channel_map.storage import data_hash, load_manifest, load_maps, save_maps
from echoscape.channel_map.updating.changes import MapChanges
from echoscape.channel_map.updating.update import update_map
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.virtual_anchors.model import VirtualAnchors

__all__ = [
    "ChannelMap",
    "Extrapolated",
    "ExtrapolatedMap",
    "MapChanges",
    "MapModel",
    "NearestMap",
    "NearestReports",
    "Network",
    "NetworkMap",
    "PathPrior",
    "ScattererMap",
    "ScattererNetwork",
    "ScattererNetworkMap",
    "Scatterers",
    "VirtualAnchorMap",
    "VirtualAnchorNetwork",
    "VirtualAnchorNetworkMap",
    "VirtualAnchors",
    "data_hash",
    "fit_map",
    "fit_maps",
    "load_manifest",
    "load_maps",
    "save_maps",
    "update_map",
]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name == "deprecated":  # while that module itself is imported
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.deprecated").replacement(name)


def __dir__() -> list[str]:
    return sorted(__all__)
