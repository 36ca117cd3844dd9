"""Channels that evolve with the environment: from anchors and scatterers to coefficients.

Takes tracks or ray-traced paths, and the motion of a user among them.
Gives `ChannelRealization`: coefficients and delays at any rate, spreads, distributions.
"""

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.channel_file import read_channel, write_channel
from echoscape.channel_model.channel_statistics import describe_channel
from echoscape.channel_model.cluster import Clusters, clustered
from echoscape.channel_model.coefficient import ChannelRealization, realize
from echoscape.channel_model.moving_scatterer import add_moving_scatterers
from echoscape.channel_model.path_rays import (
    bounce_rays_from_paths,
    motion_of,
    rays_from_paths,
)
from echoscape.channel_model.point_rays import has_rays, rays_from_points
from echoscape.channel_model.ray import Motion, RaySet, RayState, evolve, move
from echoscape.channel_model.response import frequency_response
from echoscape.channel_model.spread import Spreads, spreads
from echoscape.channel_model.statistic import ks_distance, ks_halves
from echoscape.channel_model.track_rays import (
    bounce_rays_from_tracks,
    rays_from_tracks,
    read_motion,
)

__all__ = [
    "BounceRays",
    "ChannelRealization",
    "Clusters",
    "Motion",
    "RaySet",
    "RayState",
    "Spreads",
    "add_moving_scatterers",
    "bounce_rays_from_paths",
    "bounce_rays_from_tracks",
    "clustered",
    "describe_channel",
    "evolve",
    "frequency_response",
    "has_rays",
    "ks_distance",
    "ks_halves",
    "motion_of",
    "move",
    "rays_from_paths",
    "rays_from_points",
    "rays_from_tracks",
    "read_channel",
    "read_motion",
    "realize",
    "spreads",
    "write_channel",
]


def __dir__() -> list[str]:
    return sorted(__all__)
