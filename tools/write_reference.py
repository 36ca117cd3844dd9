"""Write the pages of the reference from what the packages make public.

Takes the packages of `echoscape`, imported.
Gives `docs/reference/*.rst`, one page a stage, which `docs/conf.py` writes before each build; they
hold names only, what they say comes from the docstrings.
"""

import importlib
import inspect
import pathlib
import pkgutil
import re
import types

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/reference"
_TABLE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
_LISTED = re.findall(r"^\| `(\w+)` \|", _TABLE, re.MULTILINE)
STAGES = tuple(stage for stage in _LISTED if stage not in ("doctor", "cli"))
"""Stages of the architecture's table, which a test compares with the order of imports."""


def modules(stage: str) -> list[types.ModuleType]:
    """Import a stage and all modules below it, itself first."""
    top = importlib.import_module(f"echoscape.{stage}")
    below = pkgutil.walk_packages(getattr(top, "__path__", []), f"{top.__name__}.")
    return [top, *(importlib.import_module(info.name) for info in below)]


def own_names(module: types.ModuleType) -> list[str]:
    """List what a module defines for others: functions and classes without an underscore."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or callable(value))
        and getattr(value, "__module__", None) == module.__name__
    ]


def public_names(stage: str) -> dict[str, list[str]]:
    """Find the public names of a stage by the module that offers them.

    A package's `__all__` counts where there is one.  What a module defines beside that is listed
    under the module, unless an underscore says that it is its own affair.
    """
    found: dict[str, list[str]] = {}
    taken: set[int] = set()
    every = modules(stage)
    for module in every:
        names = sorted(getattr(module, "__all__", []))
        values = {name: getattr(module, name) for name in names}
        fresh = [name for name in names if id(values[name]) not in taken]
        taken |= {id(value) for value in values.values()}
        if fresh:
            found[module.__name__] = fresh
    for module in every:
        rest = [name for name in own_names(module) if id(vars(module)[name]) not in taken]
        if rest:
            found[module.__name__] = [*found.get(module.__name__, []), *rest]
    return {module.__name__: found[module.__name__] for module in every if module.__name__ in found}


def home_of(module: str, name: str) -> str:
    """Find the module that assigns a constant which another offers."""
    for below in modules(module.removeprefix("echoscape.").partition(".")[0]):
        if re.search(rf"^{name}\b[^\n]*=", inspect.getsource(below), re.MULTILINE):
            return below.__name__
    return module


def directive(module: str, name: str) -> list[str]:
    """Write what shows one name."""
    value = getattr(importlib.import_module(module), name)
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    if kind == "data":
        return [f".. autodata:: {home_of(module, name)}.{name}", "   :no-value:", ""]
    lines = [f".. auto{kind}:: {module}.{name}"]
    if kind == "class":
        lines += ["   :members:", "   :show-inheritance:"]
    return [*lines, ""]


def page(stage: str) -> str:
    """Write the page of one stage."""
    found = public_names(stage)
    lines = [stage, "=" * len(stage), ""]
    for module, names in found.items():
        if module != f"echoscape.{stage}":
            lines += [module, "-" * len(module), ""]
        # A verb and its module may have the same full name, `imaging.image`: the verb is indexed.
        lines += [f".. automodule:: {module}", "   :no-members:", "   :no-index:", ""]
        for name in names:
            lines += directive(module, name)
    return "\n".join(lines)


def main() -> None:
    """Write all pages and their list."""
    OUT.mkdir(exist_ok=True)
    for stage in STAGES:
        (OUT / f"{stage}.rst").write_text(page(stage), encoding="utf-8")
    listed = "\n".join(f"   {stage}" for stage in STAGES)
    title = "Reference\n=========\n\nEvery public name, by the stage of a signal's life.\n\n"
    index = f"{title}.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    (OUT / "index.rst").write_text(index, encoding="utf-8")


if __name__ == "__main__":
    main()
