"""The command line: help at once, results a person and a program can read, honest exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import echoscape
from echoscape.cli import main
from echoscape.cli.application import app
from echoscape.cli.console import compile_sooner, compiled_folder, print_json, progress
from echoscape.reports import read_reports
from echoscape.sample import load_sample
from tests.worlds import ray_traced

SITE = """
carrier_frequency = 28e9
bandwidth = 400e6
bounds = { lower = [-10.0, 47.0, 0.0], upper = [250.0, 307.0, 30.0] }
[[station]]
name = "NAME"
position = [120.4, 222.4, 10.0]
"""


@pytest.fixture(scope="module")
def table():
    from importlib import resources

    with resources.as_file(resources.files("echoscape.sample") / "targets.parquet") as path:
        return parquet.read_table(path)


@pytest.fixture
def file(tmp_path, table):
    parquet.write_table(table, tmp_path / "users.parquet")
    return tmp_path / "users.parquet"


def run(capsys, *words):
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_help_and_version_come_without_heavy_imports():
    program = (
        "import sys; from echoscape.cli import main\n"
        "codes = [main(['--help']), main(['reports', 'check', '--help']), main(['--version'])]\n"
        "heavy = {'jax', 'equinox', 'numpy', 'pyarrow', 'matplotlib', 'pydantic', 'scipy'}\n"
        "print(codes, sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage: echoscape COMMAND" in done.stdout
    assert "users' reports" in done.stdout
    assert done.stdout.splitlines()[-2:] == [echoscape.__version__, "[0, 0, 0] []"]


def test_every_command_and_option_has_help(capsys):
    for path, command in commands():
        assert command.help, path
        code, out, _ = run(capsys, *path, "--help")
        assert code == 0
        for line in out.splitlines():
            assert not line.strip(" │").startswith("--") or len(line.split("  ")) > 1, line


def commands(of=app, path=()):
    for name in of:
        if not name.startswith("-"):
            yield (*path, name), of[name]
            yield from commands(of[name], (*path, name))


def test_check_summarises_for_a_person_and_for_a_program(capsys, file):
    code, out, err = run(capsys, "reports", "check", file)
    assert (code, err) == (0, "")
    assert "150" in out
    assert "bs (150)" in out
    code, out, _ = run(capsys, "reports", "check", file, "--json")
    assert code == 0
    assert json.loads(out)["reports"] == 150


def test_check_warns_on_standard_error_and_still_succeeds(capsys, tmp_path, table):
    shorter = pa.array(table["delay"].to_numpy() * 0.2)
    at = table.column_names.index("delay")
    parquet.write_table(table.set_column(at, "delay", shorter), tmp_path / "u.parquet")
    code, out, err = run(capsys, "reports", "check", tmp_path / "u.parquet")
    assert code == 0
    assert err.startswith("warning: ")
    assert "shorter than the straight line" in err
    assert "warning" not in out


def test_convert_keeps_columns_and_values(capsys, tmp_path, file, table):
    parquet.write_table(table.append_column("phone", pa.array(["x"] * len(table))), file)
    code, out, _ = run(capsys, "reports", "convert", file, tmp_path / "u.csv")
    assert code == 0
    assert "150 reports with 1220 paths" in out
    assert run(capsys, "reports", "convert", tmp_path / "u.csv", tmp_path / "v.parquet")[0] == 0
    again = parquet.read_table(tmp_path / "v.parquet")
    assert again["phone"].to_pylist() == ["x"] * len(table)
    for name in table.column_names:
        for one, other in zip(again[name].to_pylist(), table[name].to_pylist(), strict=True):
            assert one == other or one == pytest.approx(other, rel=1e-6), name


def test_convert_takes_a_ray_traced_table(capsys, tmp_path):
    np.savez(tmp_path / "traced.npz", **ray_traced.tables())
    out = tmp_path / "u.parquet"
    code, _, err = run(
        capsys, "reports", "convert", tmp_path / "traced.npz", out, "--strongest", "3"
    )
    assert code == 0, err
    assert read_reports(out).estimates.valid.shape == (ray_traced.USERS, 3)


def test_a_site_places_the_stations(capsys, tmp_path, table):
    bare, site = tmp_path / "bare.csv", tmp_path / "site.toml"
    parquet.write_table(
        table.drop_columns(["station_x", "station_y", "station_z"]), tmp_path / "bare.parquet"
    )
    bare = tmp_path / "bare.parquet"
    code, _, err = run(capsys, "reports", "check", bare)
    assert code == 2
    assert "--site SITE.toml" in err
    site.write_text(SITE.replace("NAME", "bs"))
    placed = tmp_path / "placed.parquet"
    assert run(capsys, "reports", "convert", bare, placed, "--site", site)[0] == 0
    np.testing.assert_array_equal(read_reports(placed).station_position, [[120.4, 222.4, 10.0]])
    assert run(capsys, "reports", "check", placed, "--site", site)[0] == 0
    site.write_text(SITE.replace("NAME", "bass"))
    code, _, err = run(capsys, "reports", "check", bare, "--site", site)
    assert code == 2
    assert "there is no station of the site 'bs'; did you mean 'bass'?" in err
    site.write_text(SITE.replace("NAME", "bs").replace("10.0]", "11.0]"))
    code, _, err = run(capsys, "reports", "check", placed, "--site", site)
    assert code == 2
    assert "station 'bs' is at (120.4, 222.4, 10) m" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reports", "check", "absent.csv"], "no file absent.csv; a table of reports was needed"),
        (["reports", "check", "u.xlsx"], "u.xlsx must end in .parquet or .csv"),
        (["reports", "chek", "u.csv"], 'Did you mean "check"'),
        (["reports", "check"], "FILE"),
        (["reports", "check", "u.csv", "--sight", "s.toml"], "--sight"),
        (["reports", "convert", "a.npz", "b.csv", "--strongest", "0"], "--strongest"),
        (["reports", "convert", "a.npz", "b.csv"], "there is no file a.npz"),
    ],
)
def test_what_the_user_can_change_is_one_red_sentence_and_exit_code_2(capsys, words, sentence):
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_a_refused_file_leaves_nothing_behind(capsys, tmp_path, table):
    at = table.column_names.index("departure_azimuth")
    degrees = pa.array(np.degrees(table["departure_azimuth"].to_numpy()))
    table = table.set_column(at, "departure_azimuth", degrees)
    parquet.write_table(table, tmp_path / "u.parquet")
    code, _, err = run(capsys, "reports", "convert", tmp_path / "u.parquet", tmp_path / "v.csv")
    assert code == 2
    assert "if these are degrees, multiply them by pi/180" in err
    assert [path.name for path in tmp_path.iterdir()] == ["u.parquet"]


def test_a_fault_of_ours_is_exit_code_1_and_a_traceback_only_for_debug(capsys, monkeypatch, file):
    def broken(reports):
        raise ZeroDivisionError("a rare\ncase")

    monkeypatch.setattr("echoscape.reports.summarize_reports", broken)
    code, out, err = run(capsys, "reports", "check", file)
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "unexpected ZeroDivisionError: a rare case" in err
    with pytest.raises(ZeroDivisionError):
        main(["reports", "check", str(file), "--debug"])


def test_an_interruption_is_exit_code_130(capsys, monkeypatch, file):
    def interrupted(reports):
        raise KeyboardInterrupt

    monkeypatch.setattr("echoscape.reports.summarize_reports", interrupted)
    code, _, err = run(capsys, "reports", "check", file)
    assert code == 130
    assert err == "error: interrupted; nothing was left half-written\n"


def test_doctor_tells_versions_and_devices(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "pyarrow" in out
    assert "cpu:0" in out
    assert "extra [test]" in out
    code, out, _ = run(capsys, "doctor", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["version"] == echoscape.__version__
    versions = {package["name"]: package["version"] for package in told["packages"]}
    assert versions["numpy"] == np.__version__
    assert told["problems"] == []


def test_doctor_names_what_is_missing_or_too_old(capsys, monkeypatch):
    import importlib.metadata as metadata

    real = metadata.version

    def version(name):
        if name == "safetensors":
            raise metadata.PackageNotFoundError
        return {"rich": "12.6.0", "optax": "0.3.0rc1"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    code, out, err = run(capsys, "doctor")
    assert code == 2
    assert "safetensors is missing; install it by `pip install 'safetensors" in err
    assert "rich 12.6.0 is outside" in err
    assert "optax 0.3.0rc1 is outside" in err
    assert "missing (needs" in out


def test_doctor_asks_nothing_that_this_machine_cannot_have(monkeypatch):
    import platform
    import sys

    from echoscape import doctor

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "embreex" else "4.0")
    for machine, needed in (("x86_64", True), ("riscv64", False)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert ("embreex" in doctor.diagnose().extras["embree"]) == needed


def test_progress_keeps_quiet_where_nobody_watches(capsys):
    with progress("fitting") as report:
        report(1, 3)
        report(3, 3, "done")
    assert capsys.readouterr() == ("", "")


def test_json_has_no_number_that_json_lacks(capsys):
    content = {"a": np.array([1.5, np.nan]), "b": (np.int64(3), float("inf")), 4: "text"}
    print_json(content)
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, None], "b": [3, None], "4": "text"}


def test_the_sample_reads_like_any_file(file):
    assert read_reports(file).report.tolist() == load_sample().targets.report.tolist()


def test_compiled_programs_are_kept_where_asked_or_not_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ECHOSCAPE_CACHE", raising=False)
    assert compiled_folder() == tmp_path / "echoscape/compiled"
    monkeypatch.setenv("ECHOSCAPE_CACHE", str(tmp_path / "mine"))
    assert compiled_folder() == tmp_path / "mine"
    monkeypatch.setenv("ECHOSCAPE_CACHE", "off")
    assert compiled_folder() is None


def test_the_compiler_is_quickened_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.10.3")
    for given, then in (
        ("", "--xla_cpu_use_fusion_emitters=false"),
        ("--xla_a=1", "--xla_a=1 --xla_cpu_use_fusion_emitters=false"),
        ("--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
    ):
        monkeypatch.setenv("XLA_FLAGS", given)
        compile_sooner()
        assert os.environ["XLA_FLAGS"] == then
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.11.0")
    monkeypatch.setenv("XLA_FLAGS", "")
    compile_sooner()
    assert os.environ["XLA_FLAGS"] == ""


def test_a_request_to_terminate_leaves_nothing_half_written(tmp_path):
    program = (
        "import sys, time\n"
        "from echoscape.cli.application import stop_cleanly\n"
        "from echoscape.files import atomic_folder\n"
        "stop_cleanly()\n"
        f"with atomic_folder({str(tmp_path / 'out')!r}, 'marker') as folder:\n"
        "    (folder / 'half').write_text('x')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"writing\n"
        running.terminate()
        assert running.wait(timeout=30) == 143
    assert list(tmp_path.iterdir()) == []
