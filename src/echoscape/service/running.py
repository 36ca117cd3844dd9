"""What runs behind the interface: two workers, the jobs, and those who listen.

Takes a `Store` and `Limits`.
Gives a `Service` that the interface asks.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable

from echoscape.checks import InputError
from echoscape.service.guard import Guard, Limits
from echoscape.service.messages import Fixes
from echoscape.service.worker import Worker, WorkerDied
from echoscape.store import Store, list_maps
from echoscape.store.jobs import begin_job, end_job, resume_jobs

_log = logging.getLogger("echoscape.service")


class Service:
    """The store, its guard and its workers, while the application runs."""

    def __init__(self, store: Store, url: str, limits: Limits, origin: str):
        """Prepare a service.

        Args:
            store: Open store.
            url: Its address, for the workers.
            limits: How much is taken.
            origin: What coordinates count from, as fixes name it.
        """
        self.store, self.url, self.limits, self.origin = store, url, limits, origin
        self.guard = Guard(store, limits)
        self.counts: dict[str, int] = {}
        self.listeners: set[asyncio.Queue[str]] = set()
        self._work = threading.Event()
        self._ending = threading.Event()

    def start(self) -> None:
        """Start the workers, and go on with the jobs of the last run."""
        self.quick, self.patient = Worker(self.url), Worker(self.url, 3600.0)
        resume_jobs(self.store)
        self._work.set()
        self._jobs = threading.Thread(target=self._run_jobs, name="jobs", daemon=True)
        self._jobs.start()

    def stop(self) -> None:
        """End the workers; a job that runs goes on at the next start."""
        self._ending.set()
        self._work.set()
        self.quick.close()
        self.patient.close()
        self._jobs.join(10.0)
        self.store.close()

    @property
    def is_ending(self) -> bool:
        """Whether the service is being stopped."""
        return self._ending.is_set()

    def wake(self) -> None:
        """Tell that a job waits."""
        self._work.set()

    def count(self, name: str, more: int = 1) -> None:
        """Count for the metrics."""
        self.counts[name] = self.counts.get(name, 0) + more

    def listen(self) -> asyncio.Queue[str]:
        """Begin to listen to fixes; discard the queue from `listeners` to end."""
        queue: asyncio.Queue[str] = asyncio.Queue(100)
        self.listeners.add(queue)
        return queue

    def tell(self, fixes: Fixes) -> None:
        """Send fixes to all who listen; those who do not keep up lose the oldest."""
        text = fixes.model_dump_json()
        for queue in list(self.listeners):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    def _warm(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self.quick.ask("warm", {"map": name})
            except Exception:
                if not self._ending.is_set():
                    _log.exception("map %s could not be prepared", name)

    def _run_jobs(self) -> None:
        self._warm(dict.fromkeys(v.name for v in reversed(list_maps(self.store))))
        while not self._ending.is_set():
            job = begin_job(self.store)
            if job is None:
                self._work.wait(1.0)
                self._work.clear()
                continue
            try:
                request = {"time": time.time(), **job.request}
                result = self.patient.ask(job.kind, request)
                end_job(self.store, job.number, "done", result)
                if job.kind in ("fit", "update"):
                    self._warm([result["map"]])
            except InputError as error:
                end_job(self.store, job.number, "failed", str(error))
            except WorkerDied:
                if not self._ending.is_set():
                    resume_jobs(self.store)
            except Exception as error:
                _log.exception("job %d failed", job.number)
                end_job(self.store, job.number, "failed", f"{type(error).__name__}: {error}")
