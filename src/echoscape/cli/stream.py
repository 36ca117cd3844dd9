"""`echoscape stream`: recorded sets sent again, and streams kept in a store as they come.

Takes a file, or what arrives at an address.
Gives batches, and rows in a store.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from echoscape.cli.console import Quiet, print_line, print_warning, progress, use_double_precision

app = cyclopts.App(name="stream", help="Send recorded sets again, and keep streams in a store.")


@app.command
def send(
    file: Path,
    /,
    *,
    kind: Literal["reports", "echoes", "samples"],
    to: str | None = None,
    source: str | None = None,
    speed: float | None = None,
    together: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = 100,
    quiet: Quiet = False,
) -> None:
    """Send a recorded set again, in the order of its times.

    Over ZeroMQ each batch is sent when the one before is kept.

    Args:
        file: Reports or echoes, .parquet or .csv; samples, .npz.
        kind: What the file holds.
        to: Address of a receiver, such as tcp://127.0.0.1:8790; lines of JSON on standard output
            if not given.
        source: What the source is called; the file's name if not given.
        speed: How much faster than measured; without pauses if not given.
        together: Most sets in a batch.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.sources import Sender, read_recorded, replay, to_line

    recorded = read_recorded(file, kind)
    count, done, new = len(recorded.time), 0, 0
    batches = replay(recorded, source or file.stem, speed=speed, together=together)
    if to is None:
        for batch in batches:
            sys.stdout.write(f"{to_line(batch)}\n")  # JSON in ASCII, for another program
            sys.stdout.flush()
        return
    with Sender(to) as sender, progress("sending", quiet) as tell:
        for batch in batches:
            new += sender.send(batch).new
            done += len(batch.content.time)
            tell(done, count, "sending")
    print_line(f"{to}: {count:,} sent, {new:,} of them new there")


@app.command
def keep(address: str | None = None, /, *, store: str, quiet: Quiet = False) -> None:
    """Keep what arrives in a store, until Ctrl-C or the end of standard input.

    Of samples the echoes that are estimated from them are kept. A batch is kept whole or refused,
    and what comes twice is kept once.

    Args:
        address: Where to listen, such as tcp://127.0.0.1:8790; lines of JSON on standard input if
            not given.
        store: Address of the store, as for `echoscape store`.
        quiet: Print no line for each batch.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.sources import from_line, receive
    from echoscape.sources import keep as keep_batch
    from echoscape.store import Store

    opened = Store.open(store)
    if address is not None:
        if not any(part in address for part in ("127.0.0.1", "[::1]", "localhost", "ipc://")):
            print_warning("other machines can send to this address, and nothing asks who they are")
        print_line(f"{opened} listens at {address}")
        for batch, said in receive(address, lambda batch: keep_batch(opened, batch)):
            if isinstance(said, InputError):
                print_warning(f"refused: {said}")
            elif batch is not None and not quiet:
                print_line(f"{batch.source}: {said.new:,} new, {said.repeated:,} there already")
        return
    refused, count = [], 0
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        count += 1
        try:
            batch = from_line(line)
            said = keep_batch(opened, batch)
            if not quiet:
                print_line(f"{batch.source}: {said.new:,} new, {said.repeated:,} there already")
        except InputError as error:
            refused.append(f"line {number}: {error}")
            print_warning(refused[-1])
    if refused:
        raise InputError(f"{len(refused)} of {count} batches were refused; first {refused[0]}")
