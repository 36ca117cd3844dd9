"""From measurements and a channel map to the position of a target or a user.

Takes `Echoes`, paired echoes, samples, a user's paths or received powers, and a `ChannelMap`.
Gives a `Fix`.
"""

from echoscape.localization.associated.by_path import AssociatedByPath
from echoscape.localization.associated.by_rank import AssociatedByRank
from echoscape.localization.associated.paired_likelihood import PairedEchoes
from echoscape.localization.direct.method import Direct
from echoscape.localization.fix import Fix, FixStatus, fix_columns
from echoscape.localization.localize import METHODS, PreparedMaps, localize, prepare
from echoscape.localization.localizer import Localizer
from echoscape.localization.unassociated.method import Unassociated
from echoscape.localization.user.by_received_power import ReceivedPower
from echoscape.localization.user.positioning import UserPaths

__all__ = [
    "METHODS",
    "AssociatedByPath",
    "AssociatedByRank",
    "Direct",
    "Fix",
    "FixStatus",
    "Localizer",
    "PairedEchoes",
    "PreparedMaps",
    "ReceivedPower",
    "Unassociated",
    "UserPaths",
    "fix_columns",
    "localize",
    "prepare",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str):
    """Find a name of the previous version, with a warning that says what replaces it."""
    import importlib

    deprecated = importlib.import_module("echoscape.localization.deprecated")
    if name in deprecated.NAMES:
        return deprecated.find(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
