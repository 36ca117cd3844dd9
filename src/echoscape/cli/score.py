"""`echoscape score`: a result beside the truth.

Takes a file of fixes, of positions over time, or an image, and the truth of it.
Gives a table of errors.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoscape.cli.console import Json, print_json, print_table

if TYPE_CHECKING:
    from echoscape.imaging.scores import ImageScores
    from echoscape.localization.scores import Scores
    from echoscape.reports.trajectory import TrajectoryScores


def score(result: Path, truth: Path, /, *, json: Json = False) -> None:
    """Compare fixes, tracks or an image with the truth.

    What the result is tells its content.  Fixes are compared with the places of their targets, by
    number; targets of the truth that have no fix count as lost.  Positions over time, a target's
    from `echoscape follow` or the user's in the folder from `echoscape track`, are compared with
    the truth at the same time.  An image is compared with what `echoscape pilots make --truth`
    wrote.

    Args:
        result: Fixes or positions over time as .parquet or .csv, a folder of tracks, or an image
            as .npz.
        truth: Targets or reports (columns x, y, z and target or report), positions over time
            (time, x, y, z), observations that know the user's position, or a truth as .npz.
        json: Print JSON for programs.
    """
    found: Any
    rows: Callable[[Any], dict[str, str]]
    if result.suffix.lower() == ".npz":
        from echoscape.imaging import read_image
        from echoscape.imaging.scores import read_truth, score_image

        found, rows = score_image(read_image(result), *read_truth(truth)), _image_rows
    elif result.is_dir() or _over_time(result):
        from echoscape.reports.trajectory import read_trajectory, score_trajectory

        table = result / "user.parquet" if result.is_dir() else result
        found = score_trajectory(read_trajectory(table), read_trajectory(truth))
        rows = _trajectory_rows
    else:
        from echoscape.localization.fix import fix_from_columns
        from echoscape.localization.scores import score_against
        from echoscape.reports import read_fixes
        from echoscape.reports.target_table import read_places

        found = score_against(fix_from_columns(read_fixes(result)), *read_places(truth))
        rows = _fix_rows
    if json:
        print_json(found)
    else:
        print_table(f"{result} beside {truth}", rows(found))


def _over_time(path: Path) -> bool:
    """Say whether a table has positions over time rather than targets' numbers."""
    from echoscape.reports.files import read_table
    from echoscape.reports.schema import Schema

    every = Schema("fixes", "", (), others=("user", "followed", "observations"))
    names = read_table(path, every).column_names
    return "time" in names and "target" not in names


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _metres(value: float | None) -> str:
    return "none located" if value is None else f"{value:.3g} m"


def _fix_rows(found: "Scores") -> dict[str, str]:
    rows = {
        "targets": str(found.count),
        "lost": _share(found.lost),
        "error": f"{_metres(found.median)} median, {_metres(found.p90)} at 90 %",
        "rms error": f"{_metres(found.located_rmse)} of those located, "
        f"{_metres(found.rmse)} with the flagged ones",
        "within": f"{found.within_1:.1%} 1 m, {found.within_3:.1%} 3 m, {found.within_10:.1%} 10 m",
        "beyond 10 m": f"{found.beyond_10:.1%}, of which flagged: {_share(found.flagged_errors)}",
        "flagged": _share(found.flagged),
        "truth inside": "no covariance stated"
        if found.inside_90 is None
        else f"the 50 % region {_share(found.inside_50)}, 90 % {_share(found.inside_90)}, "
        f"99 % {_share(found.inside_99)}",
    }
    if found.kept is not None:
        rows["narrowest 80 %"] = (
            f"{_metres(found.kept.median)} median, {_metres(found.kept.p90)} at 90 %"
        )
    return rows


def _trajectory_rows(found: "TrajectoryScores") -> dict[str, str]:
    return {
        "instants": f"{found.instants}, {found.lost:.1%} without a position",
        "error": f"{_metres(found.rmse)} rms, {_metres(found.median)} median, "
        f"{_metres(found.p90)} at 90 %, {_metres(found.largest)} at most",
        "at the end": _metres(found.last),
        "truth inside": "no covariance stated"
        if found.inside_90 is None
        else f"the 90 % ellipse {_share(found.inside_90)}",
    }


def _image_rows(found: "ImageScores") -> dict[str, str]:
    return {
        "voxels": f"{found.seen} seen by a user and a station",
        "occupied": f"{found.found} of {found.occupied} found, {found.false} false, "
        f"F1 {found.f1:.3f}",
        "coefficients": f"{found.error_db:.1f} dB error",
        "out of sight": f"{found.occupied_unseen} occupied voxels, which no image can show",
    }
