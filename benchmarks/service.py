"""How soon does a running service answer, and does it keep its memory?

`echoscape serve` is started with a store that holds one map.  Then, over HTTP on the loopback:
one target at a time, warm (median and slowest of 50 requests); many targets in one request; and a
mixed load of locates, reports and queries for some minutes, of bounded pace, with the memory of all
processes at its beginning and end and the number of answers 5xx.

    python benchmarks/service.py --map FOLDER --echoes FILE --reports FILE [--minutes 30]
"""

import argparse
import dataclasses
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np
import pyarrow.parquet as pq

from echoscape.reports import read_echoes, read_reports
from echoscape.reports.table import table_from_echoes, table_from_reports
from echoscape.store import Store, add_map

PARQUET = "application/vnd.apache.parquet"


def packed(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


class Asker:
    """Requests to one service, and how they were answered."""

    def __init__(self, at, token):
        self.at, self.token, self.faults = at, token, 0

    def __call__(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": PARQUET}
        request = urllib.request.Request(self.at + path, body, headers)
        start = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            self.faults += error.code >= 500
            content = error.read()
        return time.perf_counter() - start, content


def started_by(pid):
    """Name the processes that any thread of a process started."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def memory(pid):
    """Add up what the service and its workers hold [MB]."""
    children = started_by(pid)
    held = 0.0
    for each in (str(pid), *children):
        found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{each}/status").read_text())
        held += int(found[1]) / 1024 if found else 0.0
    return held


def processor(pid):
    """Add up the processor time of the service and its workers [s]."""
    children = started_by(pid)
    ticks = 0
    for each in (str(pid), *children):
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(options, ask, pid):
    echoes, reports = read_echoes(options.echoes), read_reports(options.reports)
    heard = [k for k in range(len(echoes)) if np.asarray(echoes.estimates.valid)[k].any()]
    single = [packed(table_from_echoes(echoes[[k]])) for k in heard]
    while json.loads(ask("/v1/health")[1])["busy"]:
        time.sleep(0.5)
    cold = [ask("/v1/locate?map=city", body)[0] for body in single]
    before = processor(pid)
    warm = [ask("/v1/locate?map=city", single[k % len(single)])[0] for k in range(50)]
    spent = (processor(pid) - before) / 50
    print(f"one target, first request of each: slowest {max(cold):.2f} s")
    print(f"one target, warm: median {1e3 * np.median(warm):.0f} ms, slowest {1e3 * max(warm):.0f} "
          f"ms; processor {1e3 * spent:.0f} ms a request")  # fmt: skip
    many = echoes[np.resize(np.array(heard), 100)]
    many = packed(table_from_echoes(dataclasses.replace(many, target=np.arange(100))))
    ask("/v1/locate?map=city", many)
    before = processor(pid)
    taken = ask("/v1/locate?map=city", many)[0]
    spent = processor(pid) - before
    print(f"100 targets at once: {100 / taken:.0f} a second; processor {10 * spent:.1f} ms each")
    soak(options, ask, pid, single, reports)


def soak(options, ask, pid, single, reports):
    end = time.monotonic() + 60 * options.minutes
    batch = packed(table_from_reports(reports[:20]))
    first, held, requests = None, [], 0
    while time.monotonic() < end and requests < 20_000:
        ask("/v1/locate?map=city", single[requests % len(single)])
        ask(f"/v1/reports?source=soak{requests}", batch)
        ask("/v1/reports?limit=100")
        ask("/v1/forecast?map=city&x=100&y=150&z=1.5")
        requests += 4
        held.append(memory(pid))
        if first is None and len(held) >= 20:
            first = float(np.median(held))
        time.sleep(0.1)
    if first is not None:
        last = float(np.median(held[-20:]))
        print(f"{requests} requests in {options.minutes:g} min: {ask.faults} answers 5xx; memory "
              f"{first:.0f} MB, then {last:.0f} MB ({last / first - 1:+.1%})")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("map", "echoes", "reports"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/site.db"
        store = Store.create(url)
        add_map(store, options.map, "city", report_count=1, last_report=0)
        store.close()
        command = [sys.executable, "-c", "from echoscape.cli import main; main()", "serve",
                   "--store", url, "--port", "0"]  # fmt: skip
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            at = re.search(r"http://\S+?(?=/v1)", served.stdout.readline())[0]
            token = served.stdout.readline().split()[-1]
            waiting = time.monotonic() + 120
            while time.monotonic() < waiting:
                try:
                    urllib.request.urlopen(f"{at}/v1/health", timeout=60).read()
                    break
                except OSError:
                    time.sleep(0.5)
            measure(options, Asker(at, token), served.pid)
        finally:
            served.terminate()
            served.wait(30)


if __name__ == "__main__":
    main()
