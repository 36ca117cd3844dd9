"""`echoscape store`: a place where reports, echoes, fixes and maps live.

Takes the address of a store, and files.
Gives counts, and files again.
"""

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_problem,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from echoscape.store import Added, Store

Kind = Literal[
    "reports", "echoes", "observations", "fixes", "map", "snapshots", "tracks", "image", "mesh"
]
Metres = Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0))]

app = cyclopts.App(
    name="store",
    help="Keep reports, echoes, fixes and maps in SQLite or PostgreSQL, and find them again.",
)


@app.command
def init(
    url: str,
    /,
    *,
    anonymous: bool = False,
    round_to: Metres = 0.0,
    jitter: Metres = 0.0,
) -> None:
    """Make a store, or bring one of an older version up to date.

    What a store forgets of users is fixed when it is made.  The paths themselves still tell where
    a user was to whom knows the walls.

    Args:
        url: Address: a file such as site.db, sqlite:///site.db, or
            postgresql://USER:PASSWORD@HOST/NAME.
        anonymous: Keep no numbers of reports.
        round_to: Keep users at the centres of squares of this edge, with that in the stated
            deviation [m].
        jitter: Shift users at random with this standard deviation, with that in the stated
            deviation [m].
    """
    from echoscape.checks import make_settings
    from echoscape.store import Privacy, Store

    given = {"anonymous": anonymous, "round_to": round_to, "jitter_std": jitter}
    asked = make_settings(Privacy, given)
    store = Store.create(url, asked if asked != Privacy() else None)
    print_line(f"{store}: {store.privacy}")


@app.command(name="import")
def import_(
    url: str,
    file: Path,
    /,
    *,
    kind: Kind | None = None,
    source: str | None = None,
    name: str | None = None,
    station: str = "station",
    time: float | None = None,
    reference: bool = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Keep a file's content; what is there already stays as it is.

    Args:
        url: Address of the store.
        file: A table of reports, echoes, observations or fixes, a map's folder, a folder from
            `echoscape store export`, or another file to be kept whole.
        kind: What the file holds; found out if not given.
        source: Where the rows come from; the file's name if not given.
        name: Name of a map; the folder's name if not given.
        station: Name of the station of observations.
        time: When fixes were measured [s]; the present, in seconds since 1970, if not given.
        reference: Keep only where another file is, and its digest.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    from echoscape import store as stores
    from echoscape.checks import InputError

    store = stores.Store.open(url)
    found = kind or _kind_of(file)
    origin = source or file.stem
    if found == "map":
        version = stores.add_map(store, file, name or file.resolve().name)
        said = {"map": version.name, "version": version.version}
        text = f"map {version.name}, version {version.version}"
    elif found in ("snapshots", "tracks", "image", "mesh"):
        kept = stores.add_file(store, file, found, reference=reference)
        said = {"file": kept.number, "digest": kept.digest}
        text = f"file {kept.number}, {kept.size:,} bytes"
    elif reference:
        raise InputError(f"--reference is for files that are kept whole; {file} holds {found}")
    else:
        with progress("reading", quiet) as shown:
            if found == "export":
                added = stores.import_reports(store, file, origin, shown)
            else:
                added = _add_table(store, file, found, origin, station, time)
        said = {"new": added.new, "repeated": added.repeated}
        text = f"{added.new:,} new, {added.repeated:,} there already"
    if json:
        print_json({"kind": found, **said})
    else:
        print_line(f"{store}: {text}")


def _kind_of(file: Path) -> str:
    """Find out what a file holds, or ask for the word."""
    from echoscape.checks import InputError
    from echoscape.reports.files import read_table
    from echoscape.reports.schema import Schema

    if (file / "manifest.json").is_file():
        return "map"
    if file.is_dir():
        if any(file.glob("station=*/day=*")):
            return "export"
        raise InputError(f"{file} is neither a map nor an export of a store; state --kind")
    if file.suffix.lower() == ".npz":
        raise InputError(f"{file}: state --kind snapshots, tracks, image or mesh")
    others = ("reports", "echoes", "observations", "fixes", "user", "followed")
    names = set(read_table(file, Schema("tables", "", (), others=others)).column_names)
    if "status" in names and "target" in names:
        return "fixes"
    for column, kind in (("report", "reports"), ("target", "echoes"), ("time", "observations")):
        if column in names:
            return kind
    raise InputError(
        f"{file} has no column report, target or time, which tell reports, echoes and observations "
        "apart; state --kind"
    )


def _add_table(
    store: "Store", file: Path, kind: str, source: str, station: str, time: float | None
) -> "Added":
    from echoscape import reports as tables
    from echoscape import store as stores

    if kind == "reports":
        return stores.add_reports(store, tables.read_reports(file), source)
    if kind == "echoes":
        return stores.add_echoes(store, tables.read_echoes(file), source)
    if kind == "observations":
        return stores.add_observations(store, tables.read_observations(file), source, station)
    now = datetime.datetime.now(datetime.UTC).timestamp() if time is None else time
    return stores.add_fixes(store, tables.read_fixes(file), source, now)


@app.command
def export(url: str, out: Path, /, *, map: str | None = None, version: int | None = None,
           file: int | None = None, quiet: Quiet = False) -> None:  # fmt: skip
    """Write all reports as Parquet, one folder for each station and day; or one map or file.

    Args:
        url: Address of the store.
        out: Folder, or file, to write.
        map: Write this map instead.
        version: Version of the map; the newest if not given.
        file: Write the file of this number instead.
        quiet: Show no progress.
    """
    from echoscape import store as stores

    store = stores.Store.open(url)
    if map is not None:
        found = stores.take_map(store, map, out, version)
        print_line(f"{out}: version {found.version} of map {found.name}")
    elif file is not None:
        kept = stores.take_file(store, file, out)
        print_line(f"{out}: {kept.size:,} bytes")
    else:
        with progress("exporting", quiet) as shown:
            count = stores.export_reports(store, out, shown)
        print_line(f"{out}: {count:,} reports")


@app.command
def stats(url: str, /, *, json: Json = False) -> None:
    """Count what a store holds.

    Args:
        url: Address of the store.
        json: Print JSON for programs.
    """
    from echoscape import store as stores

    store = stores.Store.open(url)
    counts, size = stores.count_rows(store), stores.store_size(store)
    maps = [f"{v.name} {v.version} ({v.report_count:,} reports)" for v in stores.list_maps(store)]
    spans = stores.station_spans(store)
    if json:
        print_json(
            {
                "rows": counts,
                "bytes": size,
                "maps": maps,
                "stations": [dataclasses.asdict(s) for s in spans],
            }
        )
        return
    rows = {name: f"{count:,}" for name, count in counts.items()}
    for span in spans:
        rows[f"station {span.station}"] = (
            f"{span.count:,} reports, {span.first:.6g} to {span.last:.6g} s"
        )
    rows |= {"privacy": str(store.privacy), "size": f"{size / 2**20:.1f} MiB"}
    if maps:
        rows["versions"] = ", ".join(maps)
    print_table(repr(store), rows)


@app.command
def check(url: str, /, *, quiet: Quiet = False, json: Json = False) -> int:
    """Test the checksum of every row and name those that changed; exit code 1 if there are any.

    Args:
        url: Address of the store.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    from echoscape.store import Store, check_store

    store = Store.open(url)
    with progress("checking", quiet) as shown:
        found = check_store(store, shown)
    if json:
        print_json({"damaged": found})
    elif not found:
        print_line(f"{store}: every row is as it was kept")
    else:
        for sentence in found:
            print_problem(sentence)
    return 1 if found else 0


@app.command
def prune(
    url: str,
    /,
    *,
    before: Annotated[float | None, cyclopts.Parameter(allow_leading_hyphen=True)] = None,
    keep_per_cell: Annotated[
        int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1, lt=2**62))
    ] = None,
) -> None:
    """Delete what is old, or more than is needed of one place.

    Args:
        url: Address of the store.
        before: Reports, echoes, observations and fixes of earlier times go [s].
        keep_per_cell: Of each station and each square of 32 m, keep so many of the newest reports.
    """
    from echoscape.checks import InputError, make_settings
    from echoscape.store import Retention, Store
    from echoscape.store import prune as let_go

    if before is None and keep_per_cell is None:
        raise InputError("state what may go: --before SECONDS, --keep-per-cell COUNT, or both")
    kept = make_settings(Retention, {"before": before, "keep_per_cell": keep_per_cell})
    gone = let_go(Store.open(url), kept)
    print_line(", ".join(f"{name}: {count:,} deleted" for name, count in gone.items()))


@app.command
def compact(url: str, /) -> None:
    """Give the room of deleted rows back to the disk.

    Args:
        url: Address of the store.
    """
    from echoscape.store import Store
    from echoscape.store import compact as shrink

    before, after = shrink(Store.open(url))
    print_line(f"{before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB now")
