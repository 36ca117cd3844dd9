"""Follow the radio environment, and the user in it, over time.

A specular path comes straight from a static point, the station's image in the walls, and a
scattered one from the scatterer itself; so the environment is a set of static points, and the only
thing that moves is the user.  The joint filter estimates all of them together, without knowing
which detection belongs to which point nor, after the start, where the user is.

Takes `Observations` of one user and one station.
Gives `Tracks`: anchors with their covariance, the user's track, and the status of each.
"""

from echoscape.tracking.anchor import Kind
from echoscape.tracking.bounce_tracks import track_bounces
from echoscape.tracking.forecast import forecast, paths_of
from echoscape.tracking.joint_state import JointSettings
from echoscape.tracking.record import Record
from echoscape.tracking.track import Tracks, TrackStatus, UserStatus, track
from echoscape.tracking.track_table import write_tracks, write_user

__all__ = [
    "JointSettings",
    "Kind",
    "Record",
    "TrackStatus",
    "Tracks",
    "UserStatus",
    "forecast",
    "paths_of",
    "track",
    "track_bounces",
    "write_tracks",
    "write_user",
]


def __dir__() -> list[str]:
    return sorted(__all__)
