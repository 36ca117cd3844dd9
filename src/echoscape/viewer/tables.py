"""Tables that the page shows beside fixes: bounds, and what was followed over time.

Takes files.
Gives columns.
"""

from pathlib import Path

import numpy as np

from echoscape.localization.bounds.table import BOUNDS
from echoscape.localization.moving.table import FOLLOWED
from echoscape.reports.files import read_table
from echoscape.reports.fix_table import read_results
from echoscape.reports.schema import Schema
from echoscape.tracking.track_table import TRACKS, USER

_ANY = Schema("tracks", "", (), others=("user", "followed"))


def read_bounds(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `echoscape bound` wrote.

    Args:
        path: The file.
    """
    return read_results(path, BOUNDS)


def read_track_table(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `echoscape track` or `echoscape follow` wrote: tracks, the user, or a target.

    Args:
        path: The file.
    """
    names = set(read_table(path, _ANY, only=()).column_names)
    schema = USER if "track" not in names else TRACKS if "kind" in names else FOLLOWED
    return read_results(path, schema)
