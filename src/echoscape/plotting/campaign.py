"""A campaign located pose by pose: what `echoscape map leave-one-out --figure` draws.

Takes a `LeaveOneOutResult`.
Gives a matplotlib figure: places found and true, and the errors of every method.
"""

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from echoscape.localization.user.cross_validation import LeaveOneOutResult
from echoscape.plotting.style import STYLE


def draw_left_out(
    found: LeaveOneOutResult, station_position: Float[np.ndarray, "station 3"]
) -> Figure:
    """Draw each pose with the place found for it, and the errors' distributions."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 4.0), layout="constrained")
        plan, curve = figure.subplots(1, 2)
        for kind, mask, color in (
            ("obstructed", found.obstructed, "#D55E00"),
            ("in sight", ~found.obstructed, "#0072B2"),
        ):
            plan.plot(*found.position[mask, :2].T, "o", ms=4, mfc="none", mec=color, label=kind)
            both = np.stack([found.position[mask], found.fix.best[mask]], axis=1)[..., :2]
            for start, end in both:
                plan.plot(*np.stack([start, end], axis=1), color=color, lw=1.0)
            plan.plot(*found.fix.best[mask, :2].T, ".", ms=4, color=color)
        plan.plot(*station_position[:, :2].T, "^", color="black", ms=7, label="station")
        plan.set_aspect("equal", adjustable="datalim")
        plan.set(
            xlabel="x [m]", ylabel="y [m]", title="Circles: true poses; dots: found without them"
        )
        plan.legend(loc="best")
        mask = found.obstructed if found.obstructed.any() else ~found.obstructed
        kind = "obstructed poses" if found.obstructed.any() else "poses in sight"
        for (name, error), color in zip(
            found.distances().items(), ("#0072B2", "#E69F00", "#999999"), strict=False
        ):
            values = np.sort(error[mask])
            share = np.arange(1, len(values) + 1) / max(len(values), 1)
            curve.step(np.maximum(values, 1e-3), share, where="post", color=color, label=name)
        curve.set_xscale("log")
        curve.set(xlabel="horizontal error [m]", ylabel="share of poses", ylim=(0, 1.01))
        curve.set_title(f"{mask.sum()} {kind}")
        curve.legend(loc="lower right")
        return figure
