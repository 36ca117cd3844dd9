"""From echoes and a channel map to the position of a target that nobody can see.

Takes `Echoes` and a `ChannelMap`.
Gives a `Fix`.
"""

from echoscape.localization.fix import Fix, FixStatus, fix_columns
from echoscape.localization.search import SearchSettings, localize

__all__ = ["Fix", "FixStatus", "SearchSettings", "fix_columns", "localize"]
