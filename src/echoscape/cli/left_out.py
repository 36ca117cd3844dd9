"""What a campaign reached that was judged by itself, in words.

Takes the summary of a leave-one-out.
Gives rows of a table.
"""

import math
from collections.abc import Mapping
from typing import Any


def left_out_rows(summary: "Mapping[str, Any]") -> dict[str, str]:
    """Lay the errors of every method out, and those of each pose's own clock and heading."""
    rows = {"poses": str(summary["poses"])}
    for kind in ("obstructed", "in sight"):
        rows[kind] = f"{summary[kind]['poses']} poses"
        for name, error in summary[kind].items():
            if name != "poses":
                rows[f"{kind}, {name}"] = (
                    f"{error['median']:.2f} m median, {error['p90']:.2f} m at 90 %, "
                    f"{error['rms']:.2f} m rms"
                )
    for name, unit, factor in (("clock_bias", "ns", 1e9), ("heading_bias", "deg", 180 / math.pi)):
        if name in summary:
            error = {key: value * factor for key, value in summary[name].items()}
            rows[f"{name.removesuffix('_bias')} of the pose"] = (
                f"{error['median']:.2f} {unit} median, {error['p90']:.2f} {unit} at 90 %, "
                f"{error['rms']:.2f} {unit} rms from what the campaign states"
            )
    learnt = summary["learnt"]
    rows["learnt"] = (
        f"{learnt['azimuth_std']:.3f} rad and {learnt['length_std']:.2f} m errors, "
        f"{learnt['unshared_paths']:.1f} paths a pose that no other has"
    )
    return rows
