"""A real city to try everything on: reports of its users, other places as targets, its walls.

Takes nothing; the files lie beside this module, their origin and licence in ``NOTICE.md``.
Gives `Reports` to learn from, `Reports` of places that are taken as targets, and what to draw.
"""

from importlib import resources
from typing import NamedTuple

import numpy as np

from echoscape.files import open_npz
from echoscape.reports import Reports
from echoscape.reports.table import load_reports


class Sample(NamedTuple):
    """Ray-traced users of 260 m x 260 m of a city around one base station at 28 GHz."""

    reports: Reports
    """Exact reports of users with their 12 strongest paths; one in twelve is an outage."""
    targets: Reports
    """Users at other places, without line of sight and with at least 3 paths."""
    scene: dict[str, np.ndarray]
    """What to draw, in metres and the frame of the positions: the buildings as `vertices`
    [vertex, xyz] and `faces` [face, corner]; their walls at eye level as `outline`
    [segment, end, xy]; the height of the surface `height_dm` [x, y] in decimetres above cells
    centred at `height_x`, `height_y`."""


def load_sample() -> Sample:
    """Read the sample that the package carries."""
    folder = resources.files(__name__)
    with resources.as_file(folder / "reports.parquet") as path:
        reports = load_reports(path)
    with resources.as_file(folder / "targets.parquet") as path:
        targets = load_reports(path)
    with resources.as_file(folder / "scene.npz") as path, open_npz(path, "the sample") as file:
        scene = dict(file)
    return Sample(reports, targets, scene)
