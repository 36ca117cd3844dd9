"""A process of its own that computes, so that answering never waits for computing.

A worker that dies is started again; who waited for it gets an error.  Requests and answers are
plain values over a pipe between parent and child.

Takes the name of a task and a request.
Gives the task's answer.
"""

import multiprocessing
import threading
from multiprocessing.connection import Connection
from typing import Any

from echoscape.checks import InputError
from echoscape.process import start_apart


class WorkerDied(RuntimeError):
    """The process ended, or took too long, before it had an answer."""


class Worker:
    """One process, one request at a time; several threads may ask."""

    def __init__(self, url: str, patience: float = 600.0):
        """Start the process.

        Args:
            url: Of the store that it reads and writes.
            patience: How long an answer may take before the process is ended [s].
        """
        self._url, self._patience = url, patience
        self._context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
        self._lock = threading.Lock()
        self._closed = False
        self._start()

    def ask(self, task: str, request: dict[str, Any]) -> Any:
        """Let the worker do a task.

        Raises:
            InputError: The task refused the request.
            WorkerDied: The process ended or was ended; a new one is there already.
        """
        with self._lock:
            try:
                self._pipe.send((task, request))
                if not self._pipe.poll(self._patience):
                    raise WorkerDied(f"no answer within {self._patience:.0f} s")
                kind, answer = self._pipe.recv()
            except (EOFError, OSError, WorkerDied) as error:
                if self._closed:
                    raise WorkerDied("the service is being stopped") from error
                self._stop()
                self._start()
                reason = str(error) if isinstance(error, WorkerDied) else "it ended"
                raise WorkerDied(f"the worker was started again: {reason}") from error
        if kind == "refused":
            raise InputError(answer)
        if kind == "failed":
            raise RuntimeError(answer)
        return answer

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether it works on something."""
        return self._lock.locked()

    def retire(self) -> None:
        """End the process once it has answered who asked before."""
        with self._lock:
            self._closed = True
            self._stop()

    def close(self) -> None:
        """End the process, and whoever waits for it."""
        self._closed = True
        self._process.kill()
        with self._lock:
            self._stop()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._url), name="echoscape-worker", daemon=True
        )
        start_apart(self._process)
        theirs.close()

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, url: str) -> None:
    """Answer requests until the other end is closed."""
    import jax

    from echoscape.service.tasks import TASKS

    jax.config.update("jax_enable_x64", True)
    while True:
        try:
            task, request = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = ("done", TASKS[task](url, request))
        except InputError as error:
            answer = ("refused", str(error))
        except Exception as error:
            answer = ("failed", f"{type(error).__name__}: {error}")
        pipe.send(answer)
