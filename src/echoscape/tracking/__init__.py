"""Follow the radio environment, and the user in it, over time.

A specular path comes straight from a static point, the station's image in the walls, and a
scattered one from the scatterer itself; so the environment is a set of static points, and the only
thing that moves is the user.  The joint filter estimates all of them together, without knowing
which detection belongs to which point nor, after the start, where the user is.

Takes `Observations` of one user and one station.
Gives `Tracks`: static points with their covariance, the user's track, and the status of each.
"""

from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.filters import BouncePoints, JointFilter, KnownUser, TrackingFilter
from echoscape.tracking.forecast import forecast, paths_of
from echoscape.tracking.record import Record
from echoscape.tracking.track import track
from echoscape.tracking.track_table import write_tracks, write_user
from echoscape.tracking.tracks import Tracks, TrackStatus, UserStatus

__all__ = [
    "AnchorType",
    "BouncePoints",
    "JointFilter",
    "KnownUser",
    "Record",
    "TrackStatus",
    "TrackingFilter",
    "Tracks",
    "UserStatus",
    "forecast",
    "paths_of",
    "track",
    "write_tracks",
    "write_user",
]


def __dir__() -> list[str]:
    return sorted(__all__)


_RENAMED = {"JointSettings": JointFilter, "Kind": AnchorType}


def __getattr__(name: str):
    """Give what had another name in version 0.1, and say so."""
    if name in _RENAMED:
        import warnings

        now = _RENAMED[name]
        warnings.warn(f"{name} is now {now.__name__}", DeprecationWarning, stacklevel=2)
        return now
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
