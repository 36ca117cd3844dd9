"""`echoscape samples`: recordings of other tools as samples of a channel, and the way back.

Takes a SigMF recording, or a file of samples.
Gives a file of samples, or a recording.
"""

from pathlib import Path

import cyclopts

from echoscape.cli.console import Json, Quiet, print_json, print_line, print_table, progress

app = cyclopts.App(
    name="samples", help="Bring in SigMF recordings as samples of a channel, and write them."
)


@app.command(name="import")
def import_samples(
    source: Path,
    /,
    *,
    out: Path,
    subcarriers: int | None = None,
    reference: Path | None = None,
    station: str | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring in a SigMF recording of an array as samples, which estimate and locate read.

    Args:
        source: Recording, NAME.sigmf-meta beside NAME.sigmf-data.
        out: Samples to write, .npz.
        subcarriers: Cut every capture into snapshots of so many samples; a capture is one snapshot
            if not given.
        reference: Recording of what was sent in a snapshot, to be divided out; captures are
            responses to a unit pulse if not given.
        station: Name of the station.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    from echoscape.cli.options import refuse_same
    from echoscape.reports.importing.sigmf import read_sigmf
    from echoscape.reports.sample_file import write_samples

    refuse_same(source, out)
    with progress("reading", quiet) as tell:
        found, notes = read_sigmf(source, subcarriers, reference, station)
        tell(1, 2, "writing")
        write_samples(found, out)
    taken = {note.quantity: note.taken for note in notes}
    if json:
        print_json({"snapshots": len(found.target), "taken": taken})
        return
    print_table(str(source), taken)
    print_line(f"{out}: {len(found.target)} snapshots")


@app.command
def export(samples: Path, /, *, out: Path, carrier: float, quiet: Quiet = False) -> None:
    """Write samples as a SigMF recording, a capture for each snapshot and transmitting element.

    Args:
        samples: Samples, .npz.
        out: Recording to write, NAME.sigmf-meta; its samples go to NAME.sigmf-data.
        carrier: Carrier frequency [Hz].
        quiet: Show no progress.
    """
    from echoscape.reports.exporting.sigmf import write_sigmf
    from echoscape.reports.sample_file import read_samples

    with progress("reading", quiet) as tell:
        content = read_samples(samples)
        tell(1, 2, "writing")
        meta, data = write_sigmf(content, out, carrier)
    print_line(f"{meta}, {data}")
