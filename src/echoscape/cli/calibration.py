"""What a map learnt of its reports, of a station and of its users, in words.

Takes a map, and the calibration of its manifest.
Gives a line each, and warnings of what the reports do not tell.
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


def print_quality(station: str, channel_map: Any) -> None:
    """State how many points a map found and how much they explain, where it keeps count.

    Args:
        station: Its name.
        channel_map: Its map.
    """
    state = getattr(channel_map, "state", None)
    if state is not None:
        from echoscape.display import counted

        print_line(
            f"station {station}: {counted(state.confirmed, 'static point')} found, which "
            f"explain {state.explained:.1%} of the paths learnt from"
        )


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


def warn_of_larger_errors(station: str, channel_map: Any) -> None:
    """Say whether the errors of reports turned out larger than stated.

    Args:
        station: Its name.
        channel_map: Its map.
    """
    scale = getattr(getattr(channel_map, "state", None), "error_scale", None)
    if scale is None or max(scale) <= 1.0:
        return
    angle, length = scale
    print_warning(
        f"the errors of the reports of {station!r} are larger than stated: those of departures "
        f"{angle:.1f} times, those of delays {length:.1f} times; the map counts with that"
    )
