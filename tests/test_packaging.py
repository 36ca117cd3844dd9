"""The package: its version, what it imports, and what it says where an extra is missing."""

import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import echoscape
from echoscape import __main__, extras
from echoscape.checks import InputError
from echoscape.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPE = (ROOT / "packaging/conda-forge/meta.yaml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def versions():
    """Load the file that the build runs, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("version", ROOT / "tools/version.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_version_is_the_tag_or_what_follows_it(versions, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert versions.find_version(whole) == f"{versions.NEXT}.dev0"  # no repository
    git(whole, "init", "-q")
    git(whole, "commit", "-q", "--allow-empty", "-m", "a")
    assert re.fullmatch(
        re.escape(versions.NEXT) + r"\.dev1\+g[0-9a-f]+", versions.find_version(whole)
    )
    git(whole, "tag", "v0.1.7")
    git(whole, "tag", "notes")  # no version
    assert versions.find_version(whole) == "0.1.7"
    git(whole, "commit", "-q", "--allow-empty", "-m", "b")
    git(whole, "commit", "-q", "--allow-empty", "-m", "c")
    later = re.escape(versions.NEXT) + r"\.dev2\+g[0-9a-f]+"
    assert re.fullmatch(later, versions.find_version(whole))
    git(whole, "worktree", "add", "-q", "../beside")
    assert re.fullmatch(later, versions.find_version(tmp_path / "beside"))
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{whole}", "short")
    short = versions.find_version(tmp_path / "short")
    assert re.fullmatch(re.escape(versions.NEXT) + r"\.dev1\+g[0-9a-f]+", short)
    # Unpacked inside another repository, a source distribution still says its own version.
    inside = whole / "unpacked"
    inside.mkdir()
    assert versions.find_version(inside) == f"{versions.NEXT}.dev0"
    (inside / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: echoscape\nVersion: 0.1.9\n")
    assert versions.find_version(inside) == "0.1.9"


def test_without_git_the_version_is_that_of_no_commit(versions, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert versions.find_version(tmp_path) == f"{versions.NEXT}.dev0"


def test_the_next_version_is_that_of_the_changelog(versions):
    log = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\S+)", log, re.MULTILINE)[1]
    assert newest == versions.NEXT
    assert re.search(rf"^version: {re.escape(newest)}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert f'version = "{newest}"' in RECIPE


def test_importing_the_package_loads_next_to_nothing():
    """Below 0.2 s of processor time with the interpreter's own start, and none of what is heavy."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, time, echoscape; print(time.process_time());"
         "print(*sorted({name.partition('.')[0] for name in sys.modules} "
         "- set(sys.stdlib_module_names)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spent, loaded = done.stdout.splitlines()
    assert float(spent) < 0.2
    assert not {"jax", "numpy", "scipy", "pydantic", "matplotlib", "cyclopts"} & set(loaded.split())


def test_the_table_of_extras_is_that_of_the_metadata():
    """Every package that is only in an extra has its module in the table, and no other."""
    modules = {
        "psycopg[binary]": "psycopg",
        "sionna-rt": "sionna.rt",
        "dask-jobqueue": "dask_jobqueue",
        "pyzmq": "zmq",
    }
    offered = PROJECT["optional-dependencies"]
    for name, packages in extras.PACKAGES.items():
        wanted = [re.match(r"[\w.\[\]-]+", each)[0] for each in offered[name]]
        assert [modules.get(each, each) for each in wanted] == list(packages), name
    rest = set(offered) - set(extras.PACKAGES)
    assert rest == {"all", "embree", "test", "lint", "docs"}


def test_the_recipe_for_conda_names_the_same_ranges():
    offered = PROJECT["optional-dependencies"]
    for each in [*PROJECT["dependencies"], *offered["cli"], *offered["plot"]]:
        name, ranges = re.fullmatch(r"([\w-]+)(.*)", each).groups()
        name = {"matplotlib": "matplotlib-base"}.get(name, name)  # without a window system
        assert f"    - {name} {ranges}\n" in RECIPE, each
    assert PROJECT["scripts"]["echoscape"] in RECIPE


def shut_out(monkeypatch, *names):
    """Make modules impossible to import, as where their package is not installed."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def forget(monkeypatch, stage):
    """Take a stage for not imported yet, until the test ends."""
    for name in [name for name in sys.modules if f"{name}.".startswith(f"echoscape.{stage}.")]:
        monkeypatch.delitem(sys.modules, name)
    if stage in vars(echoscape):
        monkeypatch.delattr(echoscape, stage)


@pytest.mark.parametrize("extra", extras.PACKAGES)
def test_each_missing_package_of_an_extra_is_one_sentence(extra, monkeypatch):
    for name in extras.PACKAGES[extra]:
        with monkeypatch.context() as patch:
            shut_out(patch, name)
            assert extras.missing(extra)
            with pytest.raises(InputError) as caught:
                extras.need(extra, "this")
        assert str(caught.value).startswith(f"this needs the extra `{extra}` (")
        assert f"pip install 'echoscape[{extra}]'" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_figure_without_matplotlib_is_refused_before_the_work(monkeypatch, capsys):
    shut_out(monkeypatch, "matplotlib")
    for words in (
        "locate a.parquet --map b --out c.parquet --figure",
        "image a.npz --figure=b.png",
        "demo --out nowhere",
        "track a.parquet --out b",
        "map show b",
    ):
        forget(monkeypatch, "plotting")
        assert main(words.split()) == 2
        said = capsys.readouterr().err
        assert "a figure needs the extra `plot`" in said, words
        assert len(said.strip().splitlines()) == 1, said
    assert not pathlib.Path("nowhere").exists()


@pytest.mark.parametrize(
    ("module", "stage", "words", "sentence"),
    [
        ("sqlalchemy", "store", "store stats sqlite:///a.db", "a store needs the extra `store`"),
        ("fastapi", "service", "serve --store sqlite:///a.db", "serving needs the extra `service`"),
        ("matplotlib", "plotting", None, "a figure needs the extra `plot`"),
    ],
)
def test_a_stage_without_its_extra_says_so(module, stage, words, sentence, monkeypatch, capsys):
    forget(monkeypatch, stage)
    shut_out(monkeypatch, module)
    with pytest.raises(InputError, match=sentence):
        importlib.import_module(f"echoscape.{stage}")
    if words:
        assert main(words.split()) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", extras.PACKAGES["cli"])
def test_the_command_without_its_extra_is_one_sentence(name, monkeypatch, capsys):
    shut_out(monkeypatch, name)
    assert __main__.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("echoscape: the command line needs the extra `cli`")
    assert len(said.splitlines()) == 1
