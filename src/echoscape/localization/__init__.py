"""From echoes and a channel map to the position of a target that nobody can see.

Takes `Echoes` and a `ChannelMap`.
Gives a `Fix`.
"""

from echoscape.localization.associated.by_path import (
    OneWaySettings,
    localize_one_way,
    prepare_one_way,
)
from echoscape.localization.associated.by_rank import (
    PairedSettings,
    localize_paired,
    prepare_paired,
)
from echoscape.localization.associated.by_rank_likelihood import PairedEchoes
from echoscape.localization.fix import Fix, FixStatus, fix_columns
from echoscape.localization.unassociated.method import SearchSettings, localize

__all__ = [
    "Fix",
    "FixStatus",
    "OneWaySettings",
    "PairedEchoes",
    "PairedSettings",
    "SearchSettings",
    "fix_columns",
    "localize",
    "localize_one_way",
    "localize_paired",
    "prepare_one_way",
    "prepare_paired",
]


def __dir__() -> list[str]:
    return sorted(__all__)
