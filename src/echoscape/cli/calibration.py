"""What was estimated of a station's clock and mounting, in words.

Takes the calibration of a map's manifest.
Gives a line, and warnings of what the reports do not tell.
"""

import math
from collections.abc import Mapping
from typing import Any

from echoscape.cli.console import print_line, print_warning


def print_calibration(station: str, found: Mapping[str, Any]) -> None:
    """State what was estimated of a station, and what could not be.

    Args:
        station: Its name.
        found: As its manifest keeps it.
    """
    parts = []
    for name, unit, factor in (
        ("clock", "ns", 1e9),
        *((axis, "deg", 180 / math.pi) for axis in ("yaw", "pitch", "roll")),
    ):
        std = found[f"{name}_std"]
        if std is None:
            print_warning(
                f"the {name} of station {station!r} is not observable without direct paths and is "
                "left as stated: a fault of it does not matter to this station's own echoes"
            )
        elif std > 0:
            parts.append(f"{name} {found[name] * factor:+.2f} +- {std * factor:.2f} {unit}")
    source = (
        f"{found['direct_paths']} direct paths" if found["direct_paths"] else "heights of paths"
    )
    print_line(f"station {station}: {', '.join(parts)}, from {source}; taken off its reports")
