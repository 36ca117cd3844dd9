"""Processes of ours: Ctrl-C, which reaches all of a terminal's, does not end them."""

import multiprocessing
import os
import signal

from echoscape.process import start_apart


def _answer(pipe):
    while True:
        pipe.send(pipe.recv())


def test_ctrl_c_does_not_reach_a_process_apart():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs,), daemon=True)
    start_apart(process)
    try:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)  # while it starts
        ours.send("there?")
        assert ours.poll(60), "it ended"
        os.kill(process.pid, signal.SIGINT)  # while it waits
        ours.send("still?")
        assert [ours.recv(), ours.recv()] == ["there?", "still?"]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()  # ours is as it was
    finally:
        process.kill()
        process.join()
