"""Documentation that cannot fall behind: commands, columns, stages, studies, links."""

import ast
import importlib
import importlib.util
import pathlib
import re
import shlex

import pytest

import echoscape
from echoscape.channel_map.fitting import MODELS
from echoscape.cli import app
from echoscape.cli.settings import option_name
from echoscape.estimation import LinkBudget
from echoscape.imaging import SOLVERS
from echoscape.localization.bounds.table import BOUNDS
from echoscape.localization.moving.table import FOLLOWED
from echoscape.reports import read_reports
from echoscape.reports.importing.ray_traced import FIELDS
from echoscape.reports.schema import ECHOES, FIXES, OBSERVATIONS, REPORTS, VERSION
from echoscape.scene import Site
from echoscape.tracking.track_table import TRACKS, USER
from tests.test_architecture import ORDER

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/echoscape"
_FILE = importlib.util.spec_from_file_location("reference", ROOT / "tools/write_reference.py")
reference = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(reference)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN = {"_build", "reference", "gallery.md"}  # by `make docs`, which may run beside the tests
PAGES = [page for page in PAGES if not WRITTEN & set(page.parts)]
CITATION = re.compile(r"(?<!ignore)\[([a-z]+(?:-[a-z0-9]+)+)\]")


def commands(of=app, path=()):
    for name in of:
        if not name.startswith("-"):
            yield " ".join(("echoscape", *path, name)), of[name]
            yield from commands(of[name], (*path, name))


COMMANDS = dict(commands())


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name):
    text = page("docs/commands.md")
    match = re.search(rf"^## {name}$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"docs/commands.md lacks `{name}`: run `make docs`"
    if COMMANDS[name].default_command is not None:
        for argument in COMMANDS[name].assemble_argument_collection():
            for option in argument.names:
                assert option in match[1], f"docs/commands.md lacks {option}: run `make docs`"


def commands_of(text):
    """Cut the commands out of blocks of consoles and of indented lines, comments left out."""
    text = re.sub(r"\\\n\s*", "", text)
    for line in re.findall(r"^(?:\$ |    |)(echoscape [^\n]*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        ends = [k for k, word in enumerate(words) if word in ("&&", "|")]
        yield words[: ends[0]] if ends else words


@pytest.mark.parametrize(
    "path",
    [page for page in PAGES if page.name != "CHANGELOG.md"],  # which tells of former names
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_in_documents_exist_with_their_options(path):
    text = path.read_text(encoding="utf-8")
    if path.name == "commands.md":  # whose usage lines are made of the commands themselves
        text = "\n".join(re.findall(r"^  echoscape .*$", text, re.MULTILINE))
    for words in commands_of(text):
        app.parse_args(words[1:], exit_on_error=False, print_error=False)


def test_a_command_in_a_document_that_does_not_exist_is_noticed():
    assert [*commands_of("    echoscape nonsense --a \\\n      b  # why\n")] == [
        ["echoscape", "nonsense", "--a", "b"]
    ]
    with pytest.raises(Exception, match="nonsense"):
        app.parse_args(["nonsense"], exit_on_error=False, print_error=False)


PYTHON = [
    (path.name, block)
    for path in PAGES
    if path.name not in ("README.md", "gallery.md")  # which test_first_map, test_tutorials run
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.DOTALL)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "block"), PYTHON, ids=[name for name, _ in PYTHON])
def test_blocks_of_python_run(name, block, tmp_path, monkeypatch):
    code = compile(block, name, "exec")
    if name == "cluster.md":  # needs a cluster
        return
    monkeypatch.chdir(tmp_path)
    reports = read_reports(SOURCE / "sample/files/users.parquet")
    exec(code, {"reports": reports, "measure": list})  # no testbed: nothing is measured


def test_no_command_is_documented_that_does_not_exist():
    titles = re.findall(r"^## (echoscape .+)$", page("docs/commands.md"), re.MULTILINE)
    assert sorted(titles) == sorted(COMMANDS)


TABLES = {
    "Reports": REPORTS, "Echoes": ECHOES, "Fixes": FIXES, "Bounds": BOUNDS,
    "Followed targets": FOLLOWED, "Observations": OBSERVATIONS, "Tracks": TRACKS, "User": USER,
}  # fmt: skip


@pytest.mark.parametrize("title", TABLES)
def test_every_column_is_documented_with_its_unit(title):
    schema, text = TABLES[title], page("docs/formats.md")
    section = re.search(rf"^## {title}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*)\| ([^|]*)\|", section[1], re.MULTILINE)
    documented = {name: (unit.strip(), needed.strip()) for name, unit, needed in rows}
    assert list(documented) == list(schema.names)
    for column in schema.columns:
        unit, needed = documented[column.name]
        assert unit == column.unit.strip("[]")
        assert not column.required or needed.startswith("yes"), column.name


def test_the_version_and_the_ray_traced_arrays_are_documented():
    text = page("docs/formats.md")
    assert f"All three formats are at version {VERSION}." in text
    for name in FIELDS:
        assert f"`{name}`" in text


def test_the_settings_of_sites_and_link_budgets_are_documented(tmp_path):
    text = page("docs/formats.md")
    example = re.search(r"^## Site$.*?```toml\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "site.toml").write_text(example[1])
    site = Site.from_toml(tmp_path / "site.toml")
    assert site.station == ("roof",)
    assert site.array[0].rows == 8
    section = re.search(r"^## Link budget$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*)\|", section[1], re.MULTILINE)
    fields = LinkBudget.model_fields
    assert [name for name, _ in rows] == list(fields)
    for name, default in rows:
        assert default.strip().lower() == str(fields[name].default).lower()


def test_every_stage_is_in_the_architecture_in_the_order_of_imports():
    there = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    listed = re.findall(r"^\| `(\w+)` \|", page("docs/architecture.md"), re.MULTILINE)
    assert listed == [stage for stage in ORDER if stage in there]


def test_the_reference_has_every_public_name():
    for stage in reference.STAGES:
        text = reference.page(stage)
        for module in reference.modules(stage):
            for name in getattr(module, "__all__", reference.own_names(module)):
                assert re.search(rf"^.. auto\w+:: [\w.]+\.{name}$", text, re.MULTILINE), name
    front = "".join(reference.page(stage) for stage in reference.STAGES)
    for name in echoscape.__all__:
        assert f".{name}\n" in front, name


def test_choosing_names_every_model_and_solver_that_a_command_offers():
    text = page("docs/choosing.md")
    for name in [*MODELS, *(option_name(solver) for solver in SOLVERS)]:
        assert f"`{name}`" in text, name


def test_every_study_is_documented():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    for path in (SOURCE / "studies").glob("[a-z]*"):
        assert f"`{path.stem}`" in text or f"`studies.{path.stem}`" in text, path.stem


def test_the_front_door_opens_every_room_and_no_other():
    assert sorted(echoscape.__all__) == sorted(echoscape._HOME_OF)
    for name in echoscape.__all__:
        assert getattr(echoscape, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'localise'"):
        echoscape.localise


def test_every_citation_is_in_the_references():
    keys = set(re.findall(r"@\w+\{([^,]+),", page("docs/references.bib")))
    assert "wu-ckm" in keys
    for path in SOURCE.rglob("*.py"):
        for cited in CITATION.findall(path.read_text(encoding="utf-8")):
            assert cited in keys, f"{path.name} cites [{cited}]"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_numbers_that_decide_results_have_the_values_in_the_table():
    section = page("docs/choosing.md").partition("## Numbers that decide results")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert len(rows) > 30
    for name, value in rows:
        module, _, constant = name.rpartition(".")
        found = getattr(importlib.import_module(f"echoscape.{module}"), constant)
        assert found == ast.literal_eval(value), name


def _stands_for_something(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(["echoscape", *parts[:at]]))
        except ModuleNotFoundError:
            continue
        for part in parts[at:]:
            fields = getattr(found, "__annotations__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md"],  # which tells of former names
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_modules_and_names_in_documents_exist(page):
    stages = "|".join(ORDER)
    names = re.findall(rf"`((?:{stages})(?:\.\w+)+)`", page.read_text(encoding="utf-8"))
    suffixes = (".py", ".toml", ".json", ".jsonl", ".md")
    unknown = [n for n in names if not n.endswith(suffixes) and not _stands_for_something(n)]
    assert unknown == []
