"""What runs behind the interface: two workers, the jobs, a feed, and those who listen.

Takes a `Store` and `Limits`.
Gives a `Service` that the interface asks.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pydantic

from echoscape.checks import InputError
from echoscape.service.guard import Guard, Limits
from echoscape.service.messages import Fixes, MapChange, fixes_of
from echoscape.service.upkeep import Upkeep
from echoscape.service.worker import Worker, WorkerDied
from echoscape.store import Store, list_maps
from echoscape.store.jobs import begin_job, end_job, resume_jobs

_log = logging.getLogger("echoscape.service")


class Service:
    """The store, its guard and its workers, while the application runs."""

    def __init__(
        self, store: Store, url: str, limits: Limits, origin: str, upkeep: Upkeep | None = None
    ):
        """Prepare a service.

        Args:
            store: Open store.
            url: Its address, for the workers.
            limits: How much is taken.
            origin: What coordinates count from, as fixes name it.
            upkeep: When maps are updated without being asked; never if not given.
        """
        self.store, self.url, self.limits, self.origin = store, url, limits, origin
        self.guard = Guard(store, limits)
        self.counts: dict[str, int] = {}
        self.listeners: set[asyncio.Queue[tuple[str, str]]] = set()
        self.upkeep = upkeep or Upkeep()
        self.upkeep.store = store
        self.feed: Callable[[Service], None] | None = None
        """Runs in a thread of its own until the service ends, such as a `SampleWalk`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._versions: dict[str, int] = {}  # of maps that the quick worker is ready for
        self._next: Worker | None = None  # becomes the quick worker when it is ready
        self._work = threading.Event()
        self._ending = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the workers, and go on with the jobs of the last run.

        Args:
            loop: Of those who will listen.
        """
        self._loop = loop
        self.quick, self.patient = Worker(self.url), Worker(self.url, 3600.0)
        resume_jobs(self.store)
        self._work.set()
        self._jobs = threading.Thread(target=self._run_jobs, name="jobs", daemon=True)
        self._jobs.start()
        if self.feed is not None:
            threading.Thread(target=self.feed, args=(self,), name="feed", daemon=True).start()

    def stop(self) -> None:
        """End the workers; a job that runs goes on at the next start."""
        self._ending.set()
        self._work.set()
        for worker in (self.quick, self.patient, self._next):
            if worker is not None:
                worker.close()
        self._jobs.join(10.0)
        self.store.close()

    @property
    def is_ending(self) -> bool:
        """Whether the service is being stopped."""
        return self._ending.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the service is being stopped."""
        return self._ending.wait(seconds)

    def locate(self, echoes: bytes, map_name: str, height: float | None = None) -> Fixes:
        """Locate targets, keep the fixes and send them to all who listen.

        Args:
            echoes: An Arrow stream with the columns of echoes.
            map_name: The map; its newest version is used.
            height: Of the targets [m]; the reports' own if None.
        """
        when = time.time()
        asked = {
            "echoes": echoes, "map": map_name, "height": height, "time": when,
            "version": self._versions.get(map_name),
        }  # fmt: skip
        fixes = fixes_of(self.ask("locate", asked), when, self.origin)
        self.count("fixes", len(fixes.fixes))
        self.tell("fixes", fixes)
        return fixes

    def ask(self, task: str, request: dict[str, Any]) -> Any:
        """Let the quick worker do a task, whichever process that is now.

        Args:
            task: Name of the task.
            request: What it needs.
        """
        while True:
            worker = self.quick
            try:
                return worker.ask(task, request)
            except WorkerDied:
                if worker is self.quick or self.is_ending:
                    raise

    def wake(self) -> None:
        """Tell that a job waits."""
        self._work.set()

    def count(self, name: str, more: int = 1) -> None:
        """Count for the metrics."""
        self.counts[name] = self.counts.get(name, 0) + more

    def listen(self) -> asyncio.Queue[tuple[str, str]]:
        """Begin to listen to fixes and changes of maps: the event and its JSON.

        Discard the queue from `listeners` to end.
        """
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(100)
        self.listeners.add(queue)
        return queue

    def tell(self, event: str, said: pydantic.BaseModel) -> None:
        """Send an event to all who listen, from any thread; who does not keep up loses the oldest.

        Args:
            event: Its name, `fixes` or `map`.
            said: What happened.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hand_out, (event, said.model_dump_json()))

    def _hand_out(self, item: tuple[str, str]) -> None:
        for queue in list(self.listeners):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(item)

    def _warm(self, worker: Worker, names: Iterable[str]) -> dict[str, int]:
        """Get a worker ready for the newest versions of maps."""
        ready = {}
        for name in names:
            try:
                ready[name] = int(worker.ask("warm", {"map": name})["version"])
            except Exception:
                if not self._ending.is_set():
                    _log.exception("map %s could not be prepared", name)
        return ready

    def _renewed(self, result: dict[str, Any]) -> None:
        """Get ready for a new version of a map, then tell what changed.

        Until another worker is ready for it, the one before answers by the version before.
        """
        self._next = Worker(self.url)
        ready = self._warm(self._next, dict.fromkeys([*self._versions, result["map"]]))
        if not self._ending.is_set():
            before, self.quick, self._next = self.quick, self._next, None
            self._versions = ready
            before.retire()
        change = MapChange(**{name: result.get(name, 0) for name in MapChange.model_fields})
        self.count("points_vanished", change.vanished)
        self.count("points_appeared", change.appeared)
        self.tell("map", change)

    def _run_jobs(self) -> None:
        names = dict.fromkeys(v.name for v in reversed(list_maps(self.store)))
        self._versions = self._warm(self.quick, names)
        while not self._ending.is_set():
            self.upkeep.look()
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
                    self._renewed(result)
            except InputError as error:
                end_job(self.store, job.number, "failed", str(error))
            except WorkerDied:
                if not self._ending.is_set():
                    resume_jobs(self.store)
            except Exception as error:
                _log.exception("job %d failed", job.number)
                end_job(self.store, job.number, "failed", f"{type(error).__name__}: {error}")
