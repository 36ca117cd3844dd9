"""The packages stand in the order of a signal's life and import only upwards."""

import ast
import builtins
import dis
import importlib
import pathlib
import re
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1] / "src/echoscape"
ORDER = (
    "units",
    "text",
    "process",
    "progress",
    "checks",
    "extras",
    "display",
    "files",
    "numerics",
    "scene",
    "propagation",
    "signals",
    "estimation",
    "reports",
    "store",
    "sources",
    "sample",
    "channel_map",
    "communication",
    "localization",
    "imaging",
    "tracking",
    "channel_model",
    "plotting",
    "studies",
    "viewer",
    "service",
    "doctor",
    "cli",
    "__main__",
)
STRANGERS = {"localization", "imaging", "tracking"}
DRAWING_AND_WEB = {"matplotlib", "viser", "plotly", "fastapi", "starlette", "uvicorn", "PIL"}
MAY_DRAW = {"plotting", "studies", "viewer", "service", "cli"}
FORBIDDEN_NAMES = {"misc", "utils", "util", "helpers", "common", "types"}

MODULES = sorted(p for p in ROOT.rglob("*.py") if p.parent.name != "tutorials")  # scripts


def stage(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path):
    """Yield the full name of everything that a module imports, wherever it does."""
    parts = ("echoscape", *path.relative_to(ROOT).with_suffix("").parts)
    package = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def problems(path):
    mine = stage(path)
    if mine == "__init__":  # the front door shows what stands behind it
        return
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top in DRAWING_AND_WEB and mine not in MAY_DRAW:
            yield f"{mine} draws: it imports {name}"
        if top != "echoscape":
            continue
        theirs = rest.partition(".")[0]
        if theirs in ("", "__version__", mine):
            continue
        if theirs not in ORDER:
            yield f"{mine} imports {name}; import from the package that defines it"
        elif ORDER.index(theirs) > ORDER.index(mine):
            yield f"{mine} imports {name}, which comes later"
        elif {theirs, mine} <= STRANGERS:
            yield f"{mine} and {theirs} must not know each other"


def test_every_stage_has_its_place():
    stages = {stage(path) for path in MODULES} - {"__init__"}
    assert stages <= set(ORDER)
    assert stages >= {"units", "scene", "reports", "cli"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up_the_list(path):
    assert list(problems(path)) == []


def test_the_walk_notices_a_wrong_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    wrong = tmp_path / "imaging" / "solver.py"
    wrong.parent.mkdir()
    wrong.write_text(
        "import matplotlib.pyplot as plt\n"
        "from echoscape import cli, Reports\n"
        "def f():\n    from echoscape.localization import locate\n"
        "    from ..studies.city import run\n"
        "    from .voxel import edge\n    import echoscape.units\n"
    )
    assert list(problems(wrong)) == [
        "imaging draws: it imports matplotlib.pyplot",
        "imaging imports echoscape.cli, which comes later",
        "imaging imports echoscape.Reports; import from the package that defines it",
        "imaging and localization must not know each other",
        "imaging imports echoscape.studies.city.run, which comes later",
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_one_idea_and_says_so(path):
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert path.stem not in FORBIDDEN_NAMES
    assert len(text.splitlines()) <= 400, "look for the second idea and give it its own name"
    if path != ROOT / "__init__.py":
        assert re.search(r"\bTakes\b", docstring), "the docstring says what it Takes"
        assert re.search(r"\bGives\b", docstring), "the docstring says what it Gives"


def test_lengths_become_delays_and_wavelengths_in_units_alone():
    named = [path.name for path in MODULES if "SPEED_OF_LIGHT" in path.read_text(encoding="utf-8")]
    assert named == ["units.py"], "use length_of, delay_of, wavelength_of or wavenumber_of"


@pytest.mark.parametrize("module", ["echoscape", "echoscape.units", "echoscape.cli"])
def test_the_front_doors_open_at_once(module):
    program = (
        f"import {module}, sys; print(sorted({{'jax', 'numpy', 'pyarrow'}} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _names(code):
    """List the global names that functions load, nested ones too."""
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_use_names_that_exist(path):
    # Linters cannot tell shapes in annotations from names, so they are not asked.
    code = compile(path.read_text(), str(path), "exec")
    name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    missing = {n for n in _names(code) if not hasattr(module, n) and not hasattr(builtins, n)}
    assert not missing, f"{path.name} uses {sorted(missing)}, which is not defined"
