"""Several senders, several processes, and processes that die: what was answered is there."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.store import Store, Writer, add_reports, check_store, count_rows, find_reports
from tests.store.test_store import reports

SENDER = textwrap.dedent(
    """
    import sys
    from echoscape.store import Store, add_reports
    from tests.store.test_store import reports

    store = Store.open(sys.argv[1])
    first = int(sys.argv[2])
    for turn in range(int(sys.argv[3])):
        count = add_reports(store, reports(20, seed=first + turn, first=first + 20 * turn), "s").new
        print(count, flush=True)  # answered only when it is kept
    """
)


def sender(url, first, turns):
    path = os.pathsep.join(["src", *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", SENDER, url, str(first), str(turns)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.slow
def test_killed_senders_lose_nothing_that_was_answered(url):
    store = Store.create(url)
    answered = 0
    chance = random.Random(5)
    for turn in range(4):
        process = sender(url, 100_000 * turn, 100_000)
        assert process.stdout is not None
        answered += int(process.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        answered += sum(map(int, process.stdout.read().split()))
        process.wait()
        kept = count_rows(store)["reports"]
        # the transaction under way when it died may have been kept without an answer, whole
        assert kept - answered in (0, 20)
        answered = kept
        assert check_store(store) == []
    assert add_reports(store, reports(20, seed=0), "s") == (0, 20)


@pytest.mark.slow
def test_two_writers_and_a_reader_at_once(url):
    store = Store.create(url)
    add_reports(store, reports(1, seed=99, first=10**7), "s")
    writers = [sender(url, 100_000 * i, 15) for i in range(2)]
    seen = []
    while any(process.poll() is None for process in writers):
        seen.append(len(find_reports(store)))
    assert [process.wait() for process in writers] == [0, 0]
    assert seen == sorted(seen)
    assert {(count - 1) % 20 for count in seen} == {0}
    assert count_rows(store)["reports"] == 601
    assert check_store(store) == []


@pytest.mark.slow
def test_one_writer_keeps_what_many_send(url):
    store = Store.create(url)
    given = reports(200)
    answers = []

    def send(part):
        for i in part:
            answers.append(writer.put(given[[i]]))

    with Writer(store, "phones") as writer:
        parts = [range(i, 200, 4) for i in range(4)] + [range(0, 200, 7)]
        threads = [threading.Thread(target=send, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.result(timeout=60) for answer in answers} == {1}
    found = find_reports(store)
    assert sorted(found.time) == sorted(given.time)
    with pytest.raises(InputError, match="closed"):
        writer.put(given[[0]])


def test_a_wrong_batch_costs_nobody_else(tmp_path):
    store = Store.create(str(tmp_path / "a.db"))
    given = reports(6, station=("north",))
    moved = dataclasses.replace(given[[2]], station_position=given.station_position + 1.0)
    add_reports(store, given[[0]], "phones")
    with Writer(store, "phones") as writer:
        answers = [writer.put(given[[i]]) if i != 2 else writer.put(moved) for i in range(6)]
    assert isinstance(answers[2].exception(), InputError)
    assert [a.result() for i, a in enumerate(answers) if i != 2] == [1] * 5
    assert count_rows(store)["reports"] == 5


def test_senders_are_told_when_too_much_waits(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path / "a.db"))
    held = threading.Event()
    monkeypatch.setattr(Writer, "_keep", lambda self, batch: held.wait(30))
    writer = Writer(store, "phones", waiting=3)
    given = reports(1)
    writer.put(given)
    time.sleep(0.1)  # the thread has taken the first and waits with it
    for _ in range(3):
        writer.put(given)
    with pytest.raises(InputError, match="3 batches wait"):
        writer.put(given)
    held.set()
    writer.close()


def test_joined_batches_are_the_same_reports(tmp_path):
    from echoscape.store.writer import join_reports

    batch = [reports(3, paths=2, seed=1), reports(4, paths=5, seed=2, station=("süd",))]
    together = join_reports(batch)
    stores = [Store.create(str(tmp_path / name)) for name in ("a.db", "b.db")]
    add_reports(stores[0], together, "s")
    for part in batch:
        add_reports(stores[1], part, "s")
    one, other = (find_reports(store) for store in stores)
    np.testing.assert_array_equal(one.position, other.position)
    np.testing.assert_array_equal(one.estimates.length, other.estimates.length)
    np.testing.assert_array_equal(one.estimates.valid, other.estimates.valid)
