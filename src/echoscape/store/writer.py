"""Many senders, one writer: small batches wait a moment and are kept together.

Every sender gets an answer only when its rows are kept; a crash before that loses nothing that was
answered.  Rows that a batch's neighbour makes impossible are tried alone, so that one sender's
mistake costs nobody else.

Takes reports from any thread.
Gives a future for each batch.
"""

import dataclasses
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.propagation.path import Paths
from echoscape.reports.report import Reports
from echoscape.store.append import add_reports
from echoscape.store.database import Store
from echoscape.store.packing import COLUMNS

_TOGETHER = 5_000  # reports kept in one transaction at most


class Writer:
    """Keeps reports in a thread of its own; close it, or use it as a context."""

    def __init__(self, store: Store, source: str, waiting: int = 50_000):
        """Start writing.

        Args:
            store: Where to.
            source: Where the reports come from.
            waiting: How many batches may wait; one more is refused.
        """
        self._store, self._source = store, source
        self._queue: queue.Queue[tuple[Reports, Future] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._run, name="echoscape-writer", daemon=True)
        self._thread.start()

    def put(self, reports: Reports) -> "Future[int]":
        """Hand reports over; the future gives their number once all of them are kept.

        Raises:
            InputError: Too much waits already; nothing was taken.
        """
        if not self._thread.is_alive():
            raise InputError("the writer is closed; nothing was taken")
        answer: Future[int] = Future()
        try:
            self._queue.put_nowait((reports, answer))
        except queue.Full:
            raise InputError(
                f"{self._queue.maxsize:,} batches wait to be kept already; send again in a moment"
            ) from None
        return answer

    def close(self) -> None:
        """Keep what waits, and stop."""
        self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < _TOGETHER and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            going = None not in batch
            self._keep([item for item in batch if item is not None])

    def _keep(self, batch: list[tuple[Reports, Future]]) -> None:
        if not batch:
            return
        try:
            together = join_reports([reports for reports, _ in batch])
            add_reports(self._store, together, self._source)
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for item in batch:
                self._keep([item])
            return
        for reports, answer in batch:
            answer.set_result(len(reports))


def join_reports(batch: Sequence[Reports]) -> Reports:
    """Put several sets of reports into one; stations of one name must stand at one place.

    Raises:
        InputError: A station stands at two places.
    """
    if len(batch) == 1:
        return batch[0]
    place: dict[str, np.ndarray] = {}
    for reports in batch:
        for name, at in zip(reports.station, reports.station_position):
            if np.abs(place.setdefault(name, at) - at).max() > 1e-3:
                raise InputError(f"station {name!r} stands at two places in what came together")
    code = {name: i for i, name in enumerate(place)}
    most = max(reports.estimates.valid.shape[1] for reports in batch)
    ends = np.cumsum([len(reports) for reports in batch]).tolist()
    values: dict[str, Any] = {"valid": np.zeros((ends[-1], most), bool)}
    values |= {name: np.zeros((ends[-1], most)) for name in COLUMNS}
    for reports, end in zip(batch, ends):
        count, paths = reports.estimates.valid.shape
        for name, column in values.items():
            column[end - count : end, :paths] = getattr(reports.estimates, name)
    index = [
        np.array([code[name] for name in reports.station])[reports.station_index]
        for reports in batch
    ]
    return dataclasses.replace(
        batch[0], estimates=Paths(**values), station_index=np.concatenate(index),
        station=tuple(place), station_position=np.stack(list(place.values())),
        **{
            name: np.concatenate([getattr(reports, name) for reports in batch])
            for name in ("position", "position_std", "time", "report")
        },
    )  # fmt: skip
