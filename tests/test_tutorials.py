"""Tutorials: each runs, is a script that can be had, and shows commands that exist."""

import importlib.util
import pathlib
import re
import shlex

import pytest

from echoscape.checks import InputError
from echoscape.cli import app, main
from echoscape.sample.examples import (
    TUTORIALS,
    tutorial_cells,
    tutorial_text,
    tutorial_title,
    write_examples,
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
_FILE = importlib.util.spec_from_file_location("run_tutorials", ROOT / "tools/run_tutorials.py")
runner = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(runner)


def test_every_script_is_a_tutorial_and_every_tutorial_is_in_the_pages():
    scripts = {path.stem for path in (ROOT / "src/echoscape/sample/tutorials").glob("*.py")}
    assert scripts == {name.replace("-", "_") for name in TUTORIALS}
    text = (ROOT / "docs/tutorials/index.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"\{doc\}`[^`]+ <(\S+)>`", text)) == TUTORIALS
    assert tuple(text.partition(":hidden:\n\n")[2].split()[:-1]) == TUTORIALS


@pytest.mark.parametrize("name", TUTORIALS)
def test_it_is_cut_into_cells_that_hold_all_of_the_script(name):
    cells = tutorial_cells(name)
    assert cells[0].source.startswith("# ")
    assert not cells[0].code
    assert sum(cell.code for cell in cells) >= 3
    for cell in cells:
        if cell.code:
            compile(cell.source, name, "exec")
    again = [
        line if cell.code else f"# {line}"
        for cell in cells
        for line in ["%%" if cell.code else "%% [markdown]", *cell.source.splitlines()]
    ]
    assert _written(again) == _written(tutorial_text(name).splitlines())


def _written(lines):
    """Leave out what holds nothing, and the signs of marks."""
    lines = [line.removeprefix("# ") if "%%" in line else line.rstrip() for line in lines]
    return [line for line in lines if line not in ("", "#")]


@pytest.mark.parametrize("name", TUTORIALS)
def test_commands_that_it_shows_exist(name):
    text = "\n".join(cell.source for cell in tutorial_cells(name) if not cell.code)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        for command in line.strip().split(" && "):
            words = shlex.split(command) if line.startswith("    echoscape ") else []
            if words[:1] == ["echoscape"]:
                app.parse_args(words[1:], exit_on_error=False, print_error=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_it_runs(name):
    """Run it, unless the pages were built of the same code: then it ran there."""
    made = runner.page(name)
    printed = [cell for cell in made["cells"] if cell["cell_type"] == "code" and cell["outputs"]]
    assert len(printed) >= 3
    assert 0 < made["metadata"]["echoscape"]["seconds"] < runner.LONGEST


def test_a_cell_that_fails_names_its_tutorial(monkeypatch):
    import echoscape.sample.examples as examples

    cells = [examples.Cell(True, "print('before')"), examples.Cell(True, "1 / 0")]
    monkeypatch.setattr(examples, "tutorial_cells", lambda name: cells)
    with pytest.raises(ZeroDivisionError) as caught:
        runner.run("ray-tracer")
    assert "in the tutorial ray-tracer" in caught.value.__notes__[0]


def test_what_is_printed_and_drawn_becomes_outputs(monkeypatch):
    import echoscape.sample.examples as examples

    draw = "import pathlib\npathlib.Path('a.png').write_bytes(b'x')\nprint('drawn')"
    monkeypatch.setattr(examples, "tutorial_cells", lambda name: [examples.Cell(True, draw)])
    made, _ = runner.run("ray-tracer")
    first, second = made["cells"][0]["outputs"]
    assert first["text"] == "drawn\n"
    assert second["data"] == {"image/png": "eA=="}


def test_figures_are_shown_in_notebooks():
    assert runner.shown("x = 1") == "x = 1"
    assert runner.shown('figure.savefig("a.png", dpi=9)').endswith('display(Image("a.png"))')


def test_the_command_writes_the_script(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["tutorial", "own-method"]) == 0
    assert (tmp_path / "own-method.py").read_text(encoding="utf-8") == tutorial_text("own-method")
    assert "python own-method.py" in capsys.readouterr().out
    assert main(["tutorial", "own-method"]) == 0  # its own file is replaced
    (tmp_path / "mine.py").write_text("of mine")
    assert main(["tutorial", "own-method", "--out", "mine.py"]) == 2
    assert (tmp_path / "mine.py").read_text() == "of mine"


def test_the_command_lists_what_there_is(capsys):
    assert main(["tutorial"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in TUTORIALS)
    assert tutorial_title("beams") == "Beams and pilots from a map"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["beam"], "there is no tutorial 'beam'; did you mean 'beams'?"),
        (["beams", "--out", "beams.txt"], "beams.txt must end in .py"),
        (["--out", "x.py"], "--out needs a tutorial before it"),
    ],
)
def test_the_command_refuses(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["tutorial", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_files_to_try_go_nowhere_that_holds_something_else(tmp_path):
    assert "users.parquet" in write_examples(tmp_path / "try")
    (tmp_path / "mine").write_text("of mine")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        write_examples(tmp_path)
