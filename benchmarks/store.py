"""How fast a store takes reports and finds them, beside bare rows in the same database.

    python benchmarks/store.py [--reports 200000] [--url sqlite:///FILE]

The twin inserts rows of the same bytes by the driver alone, without keys, checksums, privacy and
stations: what the store adds is the ratio.  Times are those of the processor, without waiting for a
disk: on a machine that does other work, those of the wall say little.
"""

import argparse
import pathlib
import sqlite3
import tempfile
import time

import numpy as np

from echoscape.reports import Reports
from echoscape.store import Store, Writer, add_reports, check_store, find_reports, store_size
from echoscape.store.packing import pack

PATHS = 5
BATCH = 20_000


def reports(count, rng, first):
    """Reports over a square kilometre, five paths each."""
    shape = (count, PATHS)
    return Reports.from_arrays(
        position=np.c_[rng.uniform(0, 1000, (count, 2)), np.full(count, 1.5)],
        station_position=(510.0, 480.0, 25.0), departure_azimuth=rng.uniform(-3, 3, shape),
        departure_azimuth_std=0.02, power=10 ** rng.uniform(-13, -8, shape),
        length=rng.uniform(1500, 1700, shape), length_std=0.3,
        time=0.1 * (first + np.arange(count)), report=first + np.arange(count),
    )  # fmt: skip


def main():
    """Print rates and times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=200_000)
    parser.add_argument("--url")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(given.url or str(pathlib.Path(folder) / "site.db"))
        spent = bare = wall = 0.0
        raw = sqlite3.connect(pathlib.Path(folder) / "bare.db")
        raw.execute("pragma journal_mode=WAL")
        raw.execute("create table reports (id integer primary key, time, x, y, z, paths)")
        for first in range(0, given.reports, BATCH):
            batch = reports(min(BATCH, given.reports - first), rng, first)
            begun, start = time.perf_counter(), time.process_time()
            add_reports(store, batch, "benchmark")
            spent += time.process_time() - start
            wall += time.perf_counter() - begun
            start = time.process_time()
            rows = zip(batch.time.tolist(), *batch.position.T.tolist(), pack(batch.estimates)[0])
            with raw:
                raw.executemany("insert into reports values (null, ?, ?, ?, ?, ?)", rows)
            bare += time.process_time() - start
        count = given.reports
        print(f"bulk: {count / spent:,.0f} reports/s ({count / wall:,.0f} by the wall); "
              f"bare rows {count / bare:,.0f}/s, {spent / bare:.1f} times as long")  # fmt: skip

        print(f"on the disk: {store_size(store) / count:.0f} bytes a report")

        times = []
        for _ in range(30):
            west, south = rng.uniform(100, 700, 2)
            edge = 1000 * np.sqrt(1000 / min(count, 100_000))
            first = rng.uniform(0, max(count / 10 - 1e4, 1e-9))
            start = time.process_time()
            found = find_reports(
                store, area=(west, south, west + edge, south + edge), time=(first, first + 1e4)
            )
            times.append((time.process_time() - start, len(found)))
        median = sorted(times)[len(times) // 2]
        print(f"area and time: {1e3 * median[0]:.1f} ms median for {median[1]} reports, "
              f"{1e3 * max(times)[0]:.1f} ms worst")  # fmt: skip

        single = [reports(1, rng, 10**7 + i) for i in range(2000)]
        start = time.process_time()
        with Writer(store, "phones") as writer:
            answers = [writer.put(one) for one in single]
            for answer in answers:
                answer.result()
        print(f"one by one: {len(single) / (time.process_time() - start):,.0f} reports/s")

        start = time.process_time()
        damaged = check_store(store)
        print(f"checked in {time.process_time() - start:.1f} s, {len(damaged)} rows damaged")


if __name__ == "__main__":
    main()
