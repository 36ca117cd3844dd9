"""Processes of ours beside the one that the user started.

Takes a process that was not started yet.
Gives it running, out of reach of Ctrl-C.
"""

import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start_apart(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not interrupt: whoever started it ends it.

    A terminal interrupts all processes of a command alike, and one that was still importing would
    show where.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        process.start()
        return
    resource_tracker.ensure_running()  # it would let signals through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the child inherits it
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
