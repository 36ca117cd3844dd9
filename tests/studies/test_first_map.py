"""The example of the README: short, the same as the file, and it finds the targets."""

import pathlib
import re
import runpy

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/first_map.py"


def body():
    text = EXAMPLE.read_text(encoding="utf-8")
    return text.partition('"""\n\n')[2].strip()


def test_the_readme_shows_the_example_itself():
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert body() in [text.strip() for text in shown]
    assert len([line for line in body().splitlines() if line.strip()]) < 15


@pytest.mark.slow
def test_it_finds_the_targets(capsys):
    runpy.run_path(str(EXAMPLE))
    median = float(re.search(r"median error ([0-9.]+) m", capsys.readouterr().out)[1])
    assert median < 1.0
