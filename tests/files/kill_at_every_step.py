"""Kill a writer before each of its file operations in turn, and look at what is left.

Run as a program: for every writer an old result is made, then a forked child writes a new one and
dies before its k-th operation (of Python, as its audit events tell, and the exchange of names),
for every k until the child lives.  After each death a reader must find the old or the new result,
whole; the next run must work and leave nothing else behind.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.files import output
from echoscape.files.npz import open_npz, write_npz
from echoscape.files.output import (
    atomic_files,
    atomic_folder,
    atomic_path,
    committed,
    complete_commit,
)
from echoscape.reports.exporting.sigmf import write_sigmf
from echoscape.reports.files import read_table, write_table
from echoscape.reports.importing.sigmf import read_sigmf
from echoscape.reports.schema import FIXES
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform
from echoscape.studies.sweep import read_sweep, sweep

EVENTS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod",
    "os.truncate", "os.scandir", "os.listdir", "shutil.rmtree", "shutil.copymode",
}  # fmt: skip
KILLED = 99


def write_text(place, word):
    with atomic_path(place / "f.txt") as temporary:
        temporary.write_text(word * 10)


def read_text(place):
    text = (place / "f.txt").read_text()
    assert text == text[0] * 10
    return text[0]


def write_a_table(place, word):
    columns = {"target": [1, 2], "x": [0.5] * 2, "y": [0.5] * 2, "z": [0.5] * 2}
    write_table(pa.table({**columns, "status": [word] * 2}), place / "f.parquet", FIXES)


def read_a_table(place):
    return read_table(place / "f.parquet", FIXES)["status"].to_pylist()[1]


def write_an_archive(place, word):
    write_npz(place / "f.npz", {"word": np.array([word] * 3), "zeros": np.zeros(3)}, "words 1")


def read_an_archive(place):
    with open_npz(place / "f.npz", "words") as archive:
        return str(archive.array("word", "text", (3,))[2])


def write_a_pair(place, word):
    with atomic_files(place / "a.json", place / "b.json") as pair:
        for path in pair:
            path.write_text(word)


def read_a_pair(place):
    words = [committed(place / name).read_text() for name in ("a.json", "b.json")]
    assert words[0] == words[1]
    return words[0]


def write_a_recording(place, word):
    box = np.full((1, 1, 1, 8), ord(word) + 0j)
    wave, array = Waveform(8, 1e6, 1), PlanarArray()
    found = EchoSnapshots(box, np.arange(1), np.zeros(1), wave, array, array, word, word)
    write_sigmf(found, place / "r", 28e9)


def read_a_recording(place):
    found = read_sigmf(place / "r")[0]
    assert abs(found.received - ord(found.transmit_station)).max() < 1e-9
    return found.transmit_station


def write_a_folder(place, word):
    with atomic_folder(place / "out", "manifest.json") as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(word)
        (folder / f"only-{word}.txt").write_text(word)
        with atomic_path(folder / "manifest.json") as temporary:
            temporary.write_text(word)
    if not (place / "out" / "notes.txt").exists():
        (place / "out" / "notes.txt").write_text("mine")


def read_a_folder(place):
    folder = place / "out"
    word = (folder / "manifest.json").read_text()
    assert (folder / "part" / "a.txt").read_text() == word
    assert [path.name for path in folder.glob("only-*")] == [f"only-{word}.txt"]
    assert (folder / "notes.txt").read_text() == "mine"
    return word


def read_after_completion(place):
    complete_commit(place / "out")
    return read_a_folder(place)


def write_a_sweep(place, word):
    def measure(setting):
        yield {"row": word}

    sweep([{"point": i, "word": word} for i in range(3)], measure, place / "rows.jsonl")
    if word == "o":  # and a run that was interrupted in the middle of a line
        with open(place / "rows.jsonl", "a") as stream:
            stream.write('{"name": "')


def read_a_sweep(place):
    rows = read_sweep(place / "rows.jsonl")
    return rows[list(rows)[-1]][0]["row"]


class Countdown:
    """Counts file operations in one folder, and dies before the one that it waits for."""

    left: float = np.inf
    seen = 0

    def step(self):
        self.seen += 1
        if self.seen > self.left:
            os._exit(KILLED)

    def hear(self, event, arguments):
        if event in EVENTS and self.left < np.inf:
            self.step()


def run(write, read, place, exchange=True):
    countdown = Countdown()
    sys.addaudithook(countdown.hear)
    kept = {name: getattr(output, name) for name in ("_exchange", "_sync")}

    def counted(name):
        def call(*arguments):
            countdown.step()
            if name == "_exchange" and exchange:
                return kept[name](*arguments)
            return False  # nor is the disk waited for, which takes most of the time

        return call

    output._sync = lambda path: None
    steps, found = 0, set()
    while True:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        write(place, "o")
        clean = names(place)
        child = os.fork()
        if child == 0:
            for name in kept:
                setattr(output, name, counted(name))
            countdown.left = steps
            write(place, "n")
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, KILLED), f"{write.__name__} fails before step {steps}"
        word = read(place)
        assert word in (("o", "n") if code == KILLED else ("n",))
        found.add(word)
        write(place, "x")
        assert read(place) == "x", f"the run after a kill before step {steps}"
        left = {name.replace("only-x", "only-o") for name in names(place)} - clean
        assert not left, f"{left} is left by a kill before step {steps}"
        if code == 0:
            break
        steps += 1
    output._sync = kept["_sync"]
    assert found == {"o", "n"}
    print(f"{write.__name__}: {steps} steps")


def names(place):
    return {str(path.relative_to(place)) for path in place.rglob("*")}


if __name__ == "__main__":
    above = Path(sys.argv[1])
    run(write_text, read_text, above / "1")
    run(write_a_table, read_a_table, above / "2")
    run(write_an_archive, read_an_archive, above / "3")
    run(write_a_folder, read_a_folder, above / "4")
    run(write_a_folder, read_after_completion, above / "5", exchange=False)
    run(write_a_sweep, read_a_sweep, above / "6")
    run(write_a_pair, read_a_pair, above / "7")
    run(write_a_recording, read_a_recording, above / "8")
