"""Run the tutorials, all in one process, and write their pages, notebooks and scripts.

One process traces and compiles what several tutorials need once.  What ran is kept until a
tutorial or the package changes.  A tutorial that fails stops the build, and so does one that takes
more than two minutes of processor time.

Takes the tutorials of `echoscape.sample`.
Gives `docs/tutorials/NAME.ipynb` with what each cell printed and drew, for the pages;
`docs/tutorials/download/NAME.ipynb` and `NAME.py`, for readers; `docs/gallery.md`, every figure
with the code that made it.
"""

import ast
import base64
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/tutorials"
LONGEST = 120.0  # of processor time [s]


def prepare() -> None:
    """Compile as the tests do, so that they find in the cache what was compiled here."""
    import gc
    import importlib.metadata

    gc.set_threshold(100_000, 20, 20)  # tracing makes many objects and few cycles

    if importlib.metadata.version("jaxlib").startswith("0.10."):
        plain = "--xla_cpu_use_fusion_emitters=false"
        if plain not in os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {plain}"
    import jax

    compiled = ROOT / ".pytest_cache/compiled"
    compiled.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(compiled))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_disable_most_optimizations", True)


def digest(name: str) -> str:
    """Tell one state of a tutorial, of the package and of this file from another."""
    total = hashlib.sha256(pathlib.Path(__file__).read_bytes() + name.encode())
    for path in sorted((ROOT / "src/echoscape").rglob("*")):
        mine = path.stem == name.replace("-", "_")
        if path.suffix in (".py", ".parquet", ".csv", ".toml", ".npz") and (
            mine or path.parent.name != "tutorials"
        ):
            total.update(path.read_bytes())
    return total.hexdigest()


def notebook(cells: list[dict], **metadata) -> dict:
    """Put cells into a notebook."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [{"id": f"cell-{k}"} | cell for k, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}} | metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def code_cell(source: str, outputs: list[dict], number: int | None) -> dict:
    """Make a cell of code."""
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs,
            "execution_count": number}  # fmt: skip


def text_cell(source: str) -> dict:
    """Make a cell of text."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def shown(source: str) -> str:
    """Let Jupyter show the figures that a cell saves."""
    figures = re.findall(r'savefig\("([^"]+\.png)"', source)
    if not figures:
        return source
    shows = "\n".join(f'display(Image("{figure}"))' for figure in figures)
    return f"{source}\n\nfrom IPython.display import Image, display\n\n{shows}"


def run(name: str) -> tuple[dict, float]:
    """Run a tutorial in a folder of its own; its notebook, and processor time [s]."""
    from echoscape.sample.examples import tutorial_cells

    start, space, done = time.process_time(), {"__name__": "__main__"}, []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for cell in tutorial_cells(name):
            if not cell.code:
                done.append(text_cell(cell.source))
                continue
            printed, before = io.StringIO(), set(pathlib.Path().glob("*.png"))
            code = compile(ast.parse(cell.source, f"<{name}>"), f"<{name}>", "exec")
            try:
                with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)  # readers would only wonder
                    exec(code, space)
            except Exception as error:
                error.add_note(f"in the tutorial {name}, in the cell\n\n{cell.source}")
                raise
            outputs = []
            if printed.getvalue():
                outputs.append({"output_type": "stream", "name": "stdout",
                                "text": printed.getvalue()})  # fmt: skip
            for path in sorted(set(pathlib.Path().glob("*.png")) - before):
                data = {"image/png": base64.b64encode(path.read_bytes()).decode()}
                outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
            done.append(code_cell(cell.source, outputs, len(done)))
            if os.environ.get("TIMES"):
                print(f"{name}, cell {len(done)}: {time.process_time() - start:.1f} s", flush=True)
    seconds = time.process_time() - start
    if seconds > LONGEST:
        raise RuntimeError(f"the tutorial {name} took {seconds:.0f} s; at most {LONGEST:.0f} s")
    return notebook(done), seconds


def write(path: pathlib.Path, content: dict) -> None:
    """Write a notebook."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kept(name: str) -> dict | None:
    """Find what a tutorial gave, unless it or the package changed since."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads((OUT / f"{name}.ipynb").read_text(encoding="utf-8"))
        if found["metadata"]["echoscape"]["digest"] == digest(name):
            return found
    return None


def page(name: str) -> dict:
    """Give the notebook of a tutorial with its outputs, which is run where it is not kept."""
    from echoscape.sample.examples import tutorial_cells, tutorial_text

    found = kept(name)
    if found is not None:
        return found
    made, seconds = run(name)
    made["metadata"]["echoscape"] = {"digest": digest(name), "seconds": round(seconds, 1)}
    take = (
        f"Take it along: {{download}}`notebook <download/{name}.ipynb>`, "
        f"{{download}}`script <download/{name}.py>`, or `echoscape tutorial {name}`."
    )
    first = made["cells"][0]
    title, _, rest = first["source"].partition("\n")
    first["source"] = f"{title}\n\n{take}\n{rest}"
    (OUT / "download").mkdir(parents=True, exist_ok=True)
    plain = [
        code_cell(shown(cell.source), [], None) if cell.code else text_cell(cell.source)
        for cell in tutorial_cells(name)
    ]
    write(OUT / "download" / f"{name}.ipynb", notebook(plain))
    (OUT / "download" / f"{name}.py").write_text(tutorial_text(name), encoding="utf-8")
    write(OUT / f"{name}.ipynb", made)
    print(f"tutorial {name}: {seconds:.0f} s of processor time", flush=True)
    return made


def gallery(made: dict[str, dict]) -> str:
    """Lay all figures out with the code that made each, and write the figures as files.

    Args:
        made: Notebooks with outputs, by name.
    """
    (OUT / "figures").mkdir(parents=True, exist_ok=True)
    lines = [
        "# Gallery",
        "",
        "Every figure of the tutorials, with the cell that drew it. Every result has",
    ]
    lines += ["`plot()`, which returns matplotlib axes.", ""]
    for name, book in made.items():
        heading, section = "", ""
        for cell in book["cells"]:
            found = re.findall(r"^#+ (.+)$", cell["source"], flags=re.MULTILINE)
            if cell["cell_type"] == "markdown" and found:
                heading, section = heading or found[0], found[-1]
            for k, output in enumerate(cell.get("outputs", [])):
                if "data" not in output:
                    continue
                file = f"{name}-{cell['id']}-{k}.png"
                (OUT / "figures" / file).write_bytes(base64.b64decode(output["data"]["image/png"]))
                lines += [
                    f"## {heading}", "", f"In {{doc}}`{section} <tutorials/{name}>`", "",
                    f"```{{image}} tutorials/figures/{file}", f":alt: {section}", ":width: 420px",
                    "```", "", "```python", cell["source"], "```", "",
                ]  # fmt: skip
    return "\n".join(lines)


def main(names: list[str] | None = None) -> None:
    """Write the pages of some tutorials, of all by default."""
    from echoscape.sample.examples import TUTORIALS

    made = {name: page(name) for name in names or TUTORIALS}
    if len(made) == len(TUTORIALS):
        (ROOT / "docs/gallery.md").write_text(gallery(made), encoding="utf-8")


if __name__ == "__main__":
    prepare()
    main(sys.argv[1:])
