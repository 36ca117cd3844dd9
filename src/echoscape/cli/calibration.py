"""What was estimated of a station and of its users, in words.

Takes the calibration of a map's manifest.
Gives a line, and warnings of what the reports do not tell.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from echoscape.cli.console import print_line, print_warning


def print_calibration(station: str, found: Mapping[str, Any]) -> None:
    """State what was estimated of a station and its users, and what could not be.

    Args:
        station: Its name.
        found: As its manifest keeps it.
    """
    if "users" in found:
        _print_users(station, found["users"])
    if "clock_std" not in found:
        return
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


def _print_users(station: str, users: Mapping[str, Any]) -> None:
    """Count the users whose clock and heading are known now, and how well."""
    for name, unit, factor in (("clock", "ns", 1e9), ("heading", "deg", 180 / math.pi)):
        std = [each for each in users[f"{name}_std"] if each is not None]
        if not any(std):
            continue
        count = len(users[name])
        print_line(
            f"station {station}: {name} of {len(std)} of {count} users to "
            f"{statistics.median(std) * factor:.2f} {unit} (median), from "
            f"{users['direct_paths']} direct paths outwards; taken off their reports"
        )
        if name == "clock" and len(std) < count:
            print_warning(
                f"the clocks of {count - len(std)} users are not observable: too few of their "
                "paths are seen again by users in sight or next to them; their places are unmapped"
            )
