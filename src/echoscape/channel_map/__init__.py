"""From reports to the channel map: models, training, evaluation, priors for communication.

Takes `Reports`.
Gives a `ChannelMap`: position to `PathPrior`.
"""

from echoscape.channel_map.prior import ChannelMap, PathPrior

__all__ = ["ChannelMap", "PathPrior"]
