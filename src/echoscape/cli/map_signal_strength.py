"""`echoscape map signal-strength`: received power alone, mapped and located by.

Takes a file of readings and of transmitters.
Gives a file of fixes, and scores.
"""

from pathlib import Path

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
)
from echoscape.cli.options import check_table


def signal_strength(
    readings: Path,
    /,
    *,
    transmitters: Path,
    out: Path,
    block: float = 1.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Map received power alone, and locate every reading by a map fitted without its square.

    Beside the map stand the readings whose levels match best.

    Args:
        readings: Columns x, y [m] and rssi_1, rssi_2 ... [dBm] as .csv or .parquet.
        transmitters: Columns id, x, y, z [m] as .csv or .parquet.
        out: File of fixes to write, .parquet or .csv.
        block: Side of the squares left out together [m].
        seed: Seed of everything random.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    check_table(out, "fixes")
    from echoscape.localization import fix_columns
    from echoscape.localization.user.by_received_power import leave_blocks_out, summarize_blocks
    from echoscape.reports import write_fixes
    from echoscape.reports.strength_file import read_strength

    campaign = read_strength(readings, transmitters)
    with progress("leaving squares out", quiet) as report:
        found = leave_blocks_out(
            campaign.position, campaign.level, campaign.transmitter, block=block, seed=seed,
            progress=report,
        )  # fmt: skip
    write_fixes(fix_columns(found.fix, ["all"], "signal-strength"), out)
    summary = summarize_blocks(found)
    if json:
        print_json(summary)
        return
    rows = {
        "readings": str(summary["readings"]),
        "level": f"{summary['level_rms']:.2f} dB rms off",
        "inside 90 %": f"{summary['inside_90']:.1%}",
    }
    for name in found.distances():
        error = summary[name]
        rows[name] = (
            f"{error['median']:.2f} m median, {error['p90']:.2f} m at 90 %, "
            f"{error['rms']:.2f} m rms"
        )
    print_table(str(out), rows)
