"""Spoiled files of every kind through the commands that read them: exit 0 or 2, soon, in bounds.

The seed is fixed.  ``ECHOSCAPE_FUZZ=N`` makes N cases of each file instead of a few.
"""

import importlib
import os
import resource
import shutil
import time
import warnings
import zlib

import numpy as np
import pyarrow as pa
import pytest
from scipy.io import savemat

from echoscape.cli import application, main
from echoscape.files import write_npz
from echoscape.reports.exporting.sigmf import write_sigmf
from tests.fuzz import mutations
from tests.reports.importing import test_aodt, test_layouts
from tests.worlds.direct_paths import make_reports

CASES = int(os.environ.get("ECHOSCAPE_FUZZ", "12"))
_SLOWEST = 10.0  # a case that takes longer hangs [s]
_MEMORY = 2**30  # more than this on top of what the first cases took is too much [byte]


def reports_table():
    generator = np.random.default_rng(1)
    count = 24
    report = np.repeat(np.arange(8), 3)
    user = generator.uniform(-40, 40, (8, 3))[report]
    user[:, 2] = 1.5
    return pa.table(
        {
            "report": report,
            "station": ["roof", "hill"] * 12,
            "station_x": [0.0, 30.0] * 12,
            "station_y": [0.0, 10.0] * 12,
            "station_z": [10.0, 12.0] * 12,
            **dict(zip("xyz", user.T)),
            "departure_azimuth": generator.uniform(-3, 3, count),
            "departure_zenith": generator.uniform(1.2, 1.9, count),
            "arrival_azimuth": generator.uniform(-3, 3, count),
            "arrival_zenith": generator.uniform(1.2, 1.9, count),
            "delay": generator.uniform(2e-7, 6e-7, count),
            "power": generator.uniform(1e-12, 1e-9, count),
        }
    )


def echoes_table():
    table = reports_table()
    drop = ["report", "station_x", "station_y", "station_z", "x", "y", "z"]
    table = table.drop_columns(drop).append_column("target", table["report"])
    for end in ("departure", "arrival"):
        for angle in ("azimuth", "zenith"):
            table = table.append_column(f"{end}_{angle}_std", pa.array(np.full(24, 0.01)))
    return table.append_column("delay_std", pa.array(np.full(24, 1e-9)))


SITE = b"""carrier_frequency = 28e9
bandwidth = 4e8
[bounds]
lower = [0.0, 0.0, 0.0]
upper = [4.0, 4.0, 2.0]
[[station]]
name = "roof"
position = [-3.0, 2.0, 5.0]
array = { rows = 2, columns = 2, azimuth_deg = 0.0 }
[[scatterer]]
position = [1.0, 1.0, 1.0]
cross_section = 1.0
"""


def traced(route):
    rows, users = 12, 4
    generator = np.random.default_rng(2)
    table = {
        "pos": generator.uniform(10, 40, (users, 3)),
        "offset": np.arange(users + 1) * 3,
        "tau_ns": generator.uniform(200, 600, rows),
        **{n: generator.uniform(-1, 1, rows) for n in ("aod", "eod", "aoa", "eoa")},
        "a_re": np.full(rows, 1e-5),
        "a_im": np.full(rows, 1e-6),
        "tx_pos" if route else "bs_pos": np.zeros(3),
    }
    return table | ({"t": np.arange(4.0), "vel": np.ones((users, 3))} if route else {})


FOLDERS = {
    "aodt": lambda town, folder: test_aodt.write(folder, polarised=True),
    "insite": test_layouts.write_insite,
    "deepmimo": test_layouts.write_deepmimo,
    "deepmimo_3": test_layouts.write_deepmimo_3,
}
OBJ = b"v 0 0 0\nv 9 0 0\nv 9 0 9\nv 0 9 0\nf 1 2 3\nf 1/1 2/2 4/3\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One good file of each kind, made by the commands themselves where they can."""
    from echoscape.reports.files import write_table
    from echoscape.reports.sample_file import write_samples
    from echoscape.reports.schema import ECHOES, FIXES, OBSERVATIONS, REPORTS
    from echoscape.scene import PlanarArray
    from echoscape.signals import EchoSnapshots, Waveform
    from echoscape.studies.sweep import sweep

    place = tmp_path_factory.mktemp("fuzz")
    for suffix in ("parquet", "csv"):
        write_table(reports_table(), place / f"reports.{suffix}", REPORTS)
        write_table(echoes_table(), place / f"echoes.{suffix}", ECHOES)
    seen = echoes_table().drop_columns(["target", "station"])
    seen = seen.append_column("time", pa.array(np.repeat(np.arange(8.0), 3)))
    write_table(seen, place / "observations.csv", OBSERVATIONS)
    fixes = {"target": [1, 2], "x": [1.0, 2.0], "y": [1.0, 2.0], "z": [1.0, 2.0]}
    write_table(pa.table({**fixes, "status": ["located"] * 2}), place / "fixes.parquet", FIXES)
    sweep([{"a": k} for k in range(3)], lambda s: [{"b": 1.5}], place / "rows.jsonl")
    vertices = np.array([[0.0, 0, 0], [9, 0, 0], [9, 0, 9], [0, 9, 0]])
    np.savez(place / "walls.npz", vertices=vertices, faces=np.array([[0, 1, 2], [0, 1, 3]]))
    generator = np.random.default_rng(0)
    array = PlanarArray(1, 2)
    write_samples(
        EchoSnapshots(
            received=generator.normal(size=(2, 2, 2, 8)) + 0j, target=np.arange(2),
            time=np.zeros(2), waveform=Waveform(8, 1e6, 1), transmit=array, receive=array,
            transmit_station="roof", receive_station="roof",
        ),
        place / "samples.npz",
    )  # fmt: skip
    (place / "site.toml").write_bytes(SITE)
    np.savez_compressed(place / "traced.npz", **traced(False))
    write_npz(place / "route.npz", traced(True))
    (place / "walls.obj").write_bytes(OBJ)
    poses = {
        "bs_pos": np.zeros(3), "bs_heading": 0.1, "ue_heading": np.full(4, 0.2),
        "ue_pos": np.array([[k, 2.0, 1.5] for k in range(4)]),
        "tau": np.full((4, 2), 4e-8), "aod": np.full((4, 2), 0.4), "aoa": np.full((4, 2), 2.0),
        "power": np.full((4, 2), 1e-6),
    }  # fmt: skip
    savemat(place / "list.mat", poses, do_compression=True)
    (place / "list.csv").write_text(
        "pose,rx_x_m,rx_y_m,tx_x_m,tx_y_m,tx_heading_rad,rx_heading_rad,length_m,aod_rad,power_db\n"
        + "".join(f"{k},{k},2,0,0,0.1,0.2,{9 + k},0.5,-60\n" for k in range(5))
    )
    (place / "rssi.csv").write_text("x,y,rssi_1,rssi_2\n" + "1,2,-60,-70\n" * 6)
    (place / "radios.csv").write_text("id,x,y,z\n1,0,0,1\n2,5,5,1\n")
    town = make_reports(11, 6, 0.8, 2, 2)
    for name, write in FOLDERS.items():
        (place / name).mkdir()
        write(town, place / name)
    (place / "sigmf").mkdir()
    samples = importlib.import_module("echoscape.reports.sample_file").read_samples
    write_sigmf(samples(place / "samples.npz"), place / "sigmf" / "a", 28e9)
    (place / "budget.toml").write_text("transmit_power_dbm = 30.0\n")
    assert main(["map", "fit", f"{place}/reports.csv", "--model", "nearest",
                 "--out", f"{place}/map", "-q"]) == 0  # fmt: skip
    assert main(["pilots", "make", f"{place}/site.toml", "--out", f"{place}/pilots.npz",
                 "--users", "2"]) == 0  # fmt: skip
    return place


def read_by(module, name):
    """Name a reader of a module that is imported when it is needed."""

    def read(path):
        function = getattr(importlib.import_module(f"echoscape.{module}"), name)
        return function(path)

    return read


def read_folder(layout):
    """Import a folder of which one file was spoiled."""

    def read(path):
        reports = importlib.import_module("echoscape.reports")
        reports.import_reports(path.parent, layout).findings()

    return read


READERS = {
    **{
        f"aodt/{name}.parquet": read_folder("aodt")
        for name in ("raypaths", "cirs", "rus", "ues", "panels", "patterns")
    },
    **{
        f"insite/town.{kind}.t001_01.r002.p2m": read_folder("wireless-insite")
        for kind in ("paths", "pl")
    },
    "insite/town.txrx": read_folder("wireless-insite"),
    **{
        f"deepmimo/{name}_t001_tx000_r000.npz": read_folder("deepmimo")
        for name in ("aod_az", "delay", "rx_pos")
    },
    "deepmimo/params.json": read_folder("deepmimo"),
    "deepmimo_3/BS1_UE_0-9.mat": read_folder("deepmimo"),
    "sigmf/a.sigmf-meta": read_by("reports.importing.sigmf", "read_sigmf"),
    "sigmf/a.sigmf-data": read_by("reports.importing.sigmf", "read_sigmf"),
    "reports.parquet": read_by("reports", "read_reports"),
    "reports.csv": read_by("reports", "read_reports"),
    "echoes.parquet": read_by("reports", "read_echoes"),
    "echoes.csv": read_by("reports", "read_echoes"),
    "observations.csv": read_by("reports", "read_observations"),
    "fixes.parquet": read_by("reports", "read_fixes"),
    "site.toml": lambda path: importlib.import_module("echoscape.scene").Site.from_toml(path),
    "budget.toml": lambda path: importlib.import_module(
        "echoscape.estimation"
    ).LinkBudget.from_toml(path),
    "traced.npz": read_by("reports", "reports_from_ray_traced"),
    "route.npz": lambda path: importlib.import_module(
        "echoscape.propagation.traced_route"
    ).read_traced_route(path, 3e9),
    "walls.obj": read_by("scene.mesh", "read_mesh"),
    "walls.npz": read_by("scene.mesh", "read_mesh"),
    "list.mat": read_by("reports", "read_measured"),
    "list.csv": read_by("reports", "read_measured"),
    "radios.csv": lambda path: importlib.import_module(
        "echoscape.reports.strength_file"
    ).read_strength(path.with_name("rssi.csv"), path),
    "pilots.npz": read_by("imaging", "read_snapshots"),
    "samples.npz": read_by("reports.sample_file", "read_samples"),
    "map/manifest.json": lambda path: importlib.import_module("echoscape.channel_map").load_maps(
        path.parent
    ),
    "rows.jsonl": read_by("studies.sweep", "read_sweep"),
}

COMMANDS = {
    "reports.csv": ["reports", "check", "{}"],
    "traced.npz": ["reports", "convert", "{}", "{folder}/o.csv"],
    "list.mat": ["reports", "import-measured", "{}", "{folder}/o.csv"],
    "radios.csv": ["map", "signal-strength", "{folder}/rssi.csv", "--transmitters", "{}",
                   "--out", "{folder}/o.csv", "-q"],
    "pilots.npz": ["image", "{}", "--origin", "0,0,0", "--shape", "2,2,1", "--edge", "2",
                   "--solver", "ignore", "--out", "{folder}/o.npz", "-q"],
    "site.toml": ["pilots", "make", "{}", "--out", "{folder}/o.npz", "--users", "1"],
    "map/manifest.json": ["map", "evaluate", "{folder}/map", "{folder}/reports.csv"],
}  # fmt: skip


def ways_of(name):
    if not name.endswith("npz"):
        return [mutations.spoiled]
    return [mutations.spoiled, mutations.arrays_spoiled, mutations.header_spoiled, mutations.bomb]


def outcome(run):
    """Run something: its exit code, seconds, and growth of the largest memory in bytes."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = run()
        except Exception as error:
            code = application._explain(error)
        except BaseException as error:  # what no command survives
            code = repr(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return code, time.monotonic() - start, 1024 * (after - before)


def try_spoiled(folder, name, run, capsys, cases):
    """Spoil one file again and again; list what went wrong."""
    good = (folder / name).read_bytes()
    target = folder / name if "/" in name else folder / f"spoiled-{name}"
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    ways, problems = ways_of(name), []
    outcome(lambda: run(target))  # what is imported and compiled counts for nobody
    try:
        for case in range(cases):
            way = ways[case % len(ways)]
            if way is mutations.bomb and case >= 3 * len(ways):
                way = mutations.arrays_spoiled  # a few are enough: each takes a second to make
            target.write_bytes(way(good, generator))
            code, seconds, memory = outcome(lambda: run(target))
            told = capsys.readouterr()
            raw = set(told.out + told.err) & set("\x1b\u202e\x07")
            if code not in (0, 2) or seconds > _SLOWEST or memory > _MEMORY or raw:
                kept = folder / f"bad-{case}-{target.name}"
                shutil.copy(target, kept)
                found = (way.__name__, code, round(seconds, 1), memory, raw, told.err[-300:])
                problems.append(f"{kept}: {found}")
    finally:
        target.write_bytes(good)
    return problems


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_file_is_read_or_refused_in_a_sentence(folder, name, capsys):
    def run(path):
        READERS[name](path)
        return 0

    problems = try_spoiled(folder, name, run, capsys, CASES)
    assert not problems, "\n".join(problems[:10])


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_a_spoiled_file_ends_with_0_or_2(folder, name, capsys):
    def run(path):
        words = [word.replace("{folder}", str(folder)) for word in COMMANDS[name]]
        return main([*(word.replace("{}", str(path)) for word in words), "--force"])

    problems = try_spoiled(folder, name, run, capsys, max(CASES // 4, 4))
    assert not problems, "\n".join(problems[:10])


@pytest.mark.filterwarnings("ignore:.*repeat another path:UserWarning")  # a campaign of two paths
def test_every_reader_reads_its_good_file(folder):
    for name, read in READERS.items():
        read(folder / name)
