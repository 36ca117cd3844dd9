"""`echoscape pilots`: simulate what stations receive while users send pilots.

Takes a site.
Gives a file of snapshots and, if asked for, the truth behind it.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import Quiet, Seed, print_table, progress, use_double_precision
from echoscape.cli.options import check_place

app = cyclopts.App(name="pilots", help="Simulate users' pilots among voxels that hide each other.")


@app.command
def make(
    site: Path,
    /,
    *,
    out: Annotated[Path, cyclopts.Parameter(name=["--out", "-o"])],
    truth: Path | None = None,
    users: int = 12,
    scatterers: int = 40,
    edge: float = 1.0,
    subcarriers: int = 1,
    snr_db: float = 20.0,
    line_of_sight: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Simulate what a site's stations receive from random users.

    The site's bounds become a grid of voxels. Its scatterers and its mesh occupy voxels; where it
    has neither, voxels are occupied at random.

    Args:
        site: TOML file of the site: carrier, bandwidth, stations with arrays, bounds.
        out: File .npz to write the snapshots to.
        truth: File .npz to write coefficients and visibility to.
        users: How many users, at random free places in the bounds.
        scatterers: Voxels occupied at random where the site holds nothing.
        edge: Edge of a voxel, in m.
        subcarriers: How many, spread over the site's bandwidth.
        snr_db: Mean power of the estimated channels over their noise, in dB.
        line_of_sight: Add the line of sight, and store it to be taken off.
        seed: Seed of everything random.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.checks import make_settings
    from echoscape.files.archive import check_archive
    from echoscape.imaging import write_snapshots
    from echoscape.imaging.site_scene import ScenePlan, simulate_site, write_truth
    from echoscape.scene import Site

    for path in (out, truth):
        if path is not None:
            check_archive(path)
            check_place(path)
    plan = make_settings(
        ScenePlan,
        {
            "users": users,
            "scatterers": scatterers,
            "edge": edge,
            "subcarriers": subcarriers,
            "snr_db": snr_db,
            "line_of_sight": line_of_sight,
            "seed": seed,
        },
    )
    with progress("simulating", quiet) as tell:
        grid, snapshots, found = simulate_site(Site.from_toml(site), plan)
        tell(1, 2, "writing")
        write_snapshots(snapshots, out)
        if truth is not None:
            write_truth(grid, found, truth)

    def words(numbers: tuple) -> str:
        return ",".join(f"{number:g}" for number in numbers)

    rows = {
        "received": " x ".join(str(n) for n in snapshots.received.shape)
        + " (station, antenna, pilot, subcarrier)",
        "occupied": f"{int((found.coefficient != 0).sum())} of {grid.voxels} voxels",
        "in range": f"{int(found.in_range.sum())} voxels",
        "image it": f"echoscape image {out} --origin {words(grid.origin)} --shape "
        f"{words(grid.shape)} --edge {grid.edge:g} --out image.npz",
    }
    print_table(str(out), rows)
