"""`echoscape coverage`: who will see what of a site, before anything is sent.

Takes a site.
Gives a summary and, if asked for, a table of voxels and a figure.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_place


def coverage(
    site: Path,
    /,
    *,
    edge: float = 1.0,
    users: int = 12,
    share: float = 0.02,
    radius: float | None = None,
    places: int = 64,
    out: Annotated[Path | None, cyclopts.Parameter(name=["--out", "-o"])] = None,
    figure: Path | None = None,
    height: float | None = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Expect how many users and stations will see each voxel, and how many nobody will see.

    What the site's mesh and scatterers hide is taken as it is; other things are known by their
    share of the voxels only. Users are anywhere in the bounds.

    Args:
        site: TOML file of the site: stations, bounds, mesh, scatterers.
        edge: Edge of a voxel, in m.
        users: How many users there will be.
        share: Share of voxels occupied by what the site does not hold, 0 to below 1.
        radius: How close to a segment an occupied voxel hides it, in m; half an edge by default.
        places: Places in the bounds over which users are averaged.
        out: File .parquet or .csv to write a row for each voxel to.
        figure: File .png, .pdf or .svg for maps at one height.
        height: Of these maps, in m; the middle of the bounds by default.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    import numpy as np

    from echoscape.checks import InputError
    from echoscape.files.tabular import write_columns
    from echoscape.imaging.planning import plan_coverage
    from echoscape.reports.files import check_table_output
    from echoscape.scene import Site

    if out is not None:
        check_table_output(out, "coverage")
    if figure is not None and figure.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"{figure} must end in .png, .pdf or .svg, which tells the format")
    for path in filter(None, (out, figure)):
        check_place(path)
    if height is not None and figure is None:
        raise InputError("--height says which level --figure draws; give both")
    plan = Site.from_toml(site)
    with progress("looking from every place, compiling", quiet):
        found = plan_coverage(
            plan, edge=edge, users=users, share=share, radius=radius, places=places
        )
    low, high = found.grid.origin[2], found.grid.upper[2]
    if height is not None and not low <= height <= high:
        raise InputError(
            f"--height must lie in the site's bounds, from {low:g} to {high:g} m; got {height:g}"
        )
    if out is not None:
        write_columns(found.to_arrow(), out, "coverage 1")
    if figure is not None:
        from echoscape.plotting.coverage import draw_coverage

        where = np.asarray(plan.station_position)
        draw_coverage(found, figure, station_position=where, height=height)
    free = ~found.occupied
    alone = dict(zip(plan.station, found.unseen_by_station.tolist(), strict=True))
    summary = {
        "voxels": found.grid.voxels,
        "occupied": int(found.occupied.sum()),
        "users": users,
        "user_views": float(np.mean(found.user_views[free])),
        "station_views": float(np.mean(found.station_views[free])),
        "unseen": found.unseen_count,
        "unseen_by_station": alone,
    }
    if json:
        print_json(summary)
        return
    voxels = found.grid.voxels
    rows = {
        "voxels": f"{voxels} of {edge:g} m, {summary['occupied']} occupied by the site",
        "users": f"a free voxel is seen by {summary['user_views']:.1f} of {users} on average",
        "stations": f"by {summary['station_views']:.1f} of {len(alone)}",
        "unseen": f"{found.unseen_count:.0f} voxels ({100 * found.unseen_count / voxels:.1f} %) "
        "expected, by Eq. (66); with many users rather more, for views are not independent",
    } | {f"with {name} alone": f"{count:.0f} voxels unseen" for name, count in alone.items()}
    print_table(str(site), rows)
