"""From reports to the channel map: models, training, evaluation, priors for communication.

Takes `Reports`.
Gives a `ChannelMap`: position to `PathPrior`.
"""

from echoscape.channel_map.anchors import AnchorMap, AnchorSettings, fit_anchors
from echoscape.channel_map.carried import CarriedMap, CarriedSettings, fit_carried
from echoscape.channel_map.nearest import NearestMap, NearestSettings, fit_nearest
from echoscape.channel_map.network import NetworkMap
from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.scatterer_search import ScattererSettings, fit_scatterers
from echoscape.channel_map.scatterers import ScattererMap
from echoscape.channel_map.storage import data_hash, load_manifest, load_maps, save_maps
from echoscape.channel_map.training import NetworkSettings, fit_network

__all__ = [
    "AnchorMap",
    "AnchorSettings",
    "CarriedMap",
    "CarriedSettings",
    "ChannelMap",
    "NearestMap",
    "NearestSettings",
    "NetworkMap",
    "NetworkSettings",
    "PathPrior",
    "ScattererMap",
    "ScattererSettings",
    "data_hash",
    "fit_anchors",
    "fit_carried",
    "fit_nearest",
    "fit_network",
    "fit_scatterers",
    "load_manifest",
    "load_maps",
    "save_maps",
]
