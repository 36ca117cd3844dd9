"""Spoiled files of every kind through the commands that read them: exit 0 or 2, soon, in bounds.

The seed is fixed.  ``ECHOSCAPE_FUZZ=N`` makes N cases of each file instead of a few.
"""

import ast
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

import echoscape
from echoscape.cli import application, main
from tests.fuzz import mutations
from tests.fuzz.good_files import ARRAYS, CHANNELS, write_good_files

CASES = int(os.environ.get("ECHOSCAPE_FUZZ", "8"))
_SLOWEST = 10.0  # a case that takes longer hangs [s]
_MEMORY = 2**30  # more than this on top of what the first cases took is too much [byte]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    write_good_files(place)
    return place


def read_by(module, name, *further):
    """Name a reader of a module that is imported when it is needed."""

    def read(path):
        function = getattr(importlib.import_module(f"echoscape.{module}"), name)
        return function(path, *further)

    return read


def read_folder(layout):
    """Import a folder of which one file was spoiled."""

    def read(path):
        reports = importlib.import_module("echoscape.reports")
        reports.import_reports(path.parent, layout).findings()

    return read


def read_rehashed(path):
    """Load maps whose arrays were spoiled before their checksum was made."""
    channel_map = importlib.import_module("echoscape.channel_map")
    manifest = path.with_name("manifest.json")
    about = json.loads(manifest.read_text())
    about["arrays_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(about))
    channel_map.load_maps(path.parent)


def read_store(path):
    """Open a database, count what it holds, read its reports and check all rows."""
    for words in (["stats"], ["check", "-q"], ["export", path.with_name("out"), "-q"]):
        code = main(["store", words[0], str(path), *map(str, words[1:]), "--force"])
        if code not in (0, 1, 2):
            raise AssertionError(code)


def read_part(path):
    """Import one file of a store's export."""
    part = path.parent / "parts" / "station=roof" / "day=1970-01-01" / "reports.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, part)
    stores = importlib.import_module("echoscape.store")
    into = stores.Store.create(str(path.with_name("into.db")))
    stores.import_reports(into, path.parent / "parts", "fuzz")


def read_types(path):
    found = importlib.import_module("echoscape.channel_model.target_file").read_types(path)
    assert found


def read_beside(path):
    """Import a file as reports, whatever its layout is found to be."""
    reports = importlib.import_module("echoscape.reports")
    reports.import_reports(path).findings()


READERS = {
    "image.npz": read_by("imaging", "read_image"),
    "truth.npz": read_by("imaging.scores", "read_truth"),
    **{f"channel.{end}": read_by("channel_model.channel_file", "read_channel") for end in CHANNELS},
    f"points/{ARRAYS}": read_rehashed,
    "points/manifest.json": lambda path: importlib.import_module("echoscape.channel_map").load_maps(
        path.parent
    ),
    "user.csv": read_by("channel_model", "read_motion"),
    "walk.csv": read_by("reports.trajectory", "read_trajectory"),
    "followed.csv": read_by("viewer.tables", "read_track_table"),
    "bounds.csv": read_by("viewer.tables", "read_bounds"),
    "kept.db": read_store,
    "export.parquet": read_part,
    "targets.csv": read_by("reports.target_table", "read_places"),
    "routes.csv": read_by("channel_model.target_file", "read_routes", "vehicle", {}),
    "sections.csv": read_by("channel_model.target_file", "read_sections"),
    "types.toml": read_types,
    "horn.csv": read_by("channel_model.antenna_file", "read_pattern"),
    "bounces.npz": read_by(
        "tracking.joint_start_file", "read_station_echoes", np.zeros(3), 0.01, 1e-9
    ),
    "paired.csv": read_by("localization.associated.table", "read_paired_echoes"),
    **{name: read_beside for name in ("sionna.npz", "wide.csv", "long.csv")},
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


NOT_OF_FILES = {
    "load_manifest": "what load_maps reads first",
    "read_rows": "rows of the demo that it wrote itself, before it draws them",
    "read_heard": "read_station_echoes, exact",
    "read_points": "load_maps, and which of them",
    "read_stations": "Site.from_toml and load_maps by name",
    "read_users": "read_routes",
    "read_recorded": "read_reports, read_echoes and read_samples by kind",
    "read_tree": "read_mesh, and a tree of it",
    "read_rays": "read_motion, tracks and traced routes by name",
    "read_scene": "sites, maps and tracks by name",
    "read_site": "Site.from_toml, if a file is given",
    "read_route": "a traced route's arrays, through `traced_arrays`",
}


def readers_of_files():
    """Find every function of the package that is called a reader and takes a path."""
    above = Path(echoscape.__file__).parent
    for path in above.rglob("*.py"):
        for each in ast.walk(ast.parse(path.read_text())):
            if isinstance(each, ast.FunctionDef) and re.match("(read|load)_|from_toml", each.name):
                taken = [ast.unparse(a.annotation) for a in each.args.args if a.annotation]
                if taken and re.search("Path", taken[0]):
                    yield each.name


@pytest.mark.filterwarnings("ignore:.*repeat another path:UserWarning")  # a campaign of two paths
def test_every_reader_reads_its_good_file(folder):
    called = set()
    sys.setprofile(lambda frame, event, argument: called.add(frame.f_code.co_name))
    try:
        for name, read in READERS.items():
            read(folder / name)
    finally:
        sys.setprofile(None)
    assert set(readers_of_files()) - called == set(NOT_OF_FILES)
