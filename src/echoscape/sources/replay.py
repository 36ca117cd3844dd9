"""Recorded sets, sent again at the pace at which they were measured, or as fast as they are taken.

Takes a file of reports, echoes or samples.
Gives batches, each when it is due.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError, unknown_name
from echoscape.reports import Echoes, Reports, read_echoes, read_reports
from echoscape.reports.sample_file import read_samples
from echoscape.signals import EchoSnapshots
from echoscape.sources.batch import KINDS, Batch


def read_recorded(path: str | Path, kind: str) -> Reports | Echoes | EchoSnapshots:
    """Read a recorded set.

    Args:
        path: Reports or echoes, .parquet or .csv; samples, .npz.
        kind: One of `KINDS`.
    """
    readers = {"reports": read_reports, "echoes": read_echoes, "samples": read_samples}
    if kind not in readers:
        raise unknown_name("kind", kind, KINDS)
    return readers[kind](path)


def replay(
    recorded: Reports | Echoes | EchoSnapshots,
    source: str,
    *,
    speed: float | None = None,
    together: int = 100,
    wait: Callable[[float], Any] = time.sleep,
) -> Iterator[Batch]:
    """Give what was recorded in the order of its times, in batches.

    Args:
        recorded: What is sent again.
        source: What its source is called.
        speed: How much faster than measured; without pauses if not given.
        together: Most sets in a batch; sets of one time stay together as far as that allows.
        wait: Lets time pass [s].

    Raises:
        InputError: The speed is not above zero, or a batch would hold nothing.
    """
    if speed is not None and not 0 < speed < np.inf:
        raise InputError(f"the speed of a replay is a number above zero; got {speed:g}")
    if together < 1:
        raise InputError(f"a batch holds at least 1 set; got {together}")
    moment = np.asarray(recorded.time, float)
    order = np.argsort(moment, kind="stable")
    begun = time.monotonic()
    for first in range(0, len(order), together):
        rows = order[first : first + together]
        if speed is not None:
            due = float(moment[rows[-1]] - moment[order[0]]) / speed
            wait(max(0.0, due - (time.monotonic() - begun)))
        yield Batch(source, _some(recorded, rows))


def _some(recorded: Any, rows: np.ndarray) -> Any:
    if not isinstance(recorded, EchoSnapshots):
        return recorded[rows]
    part = {name: getattr(recorded, name)[rows] for name in ("received", "target", "time")}
    names = [name for name in recorded.__dataclass_fields__ if name not in part]
    return EchoSnapshots(**part, **{name: getattr(recorded, name) for name in names})
