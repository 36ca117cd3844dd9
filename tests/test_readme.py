"""Every line of the README's section on one's own files runs as it stands."""

import pathlib
import re
import shlex

import pytest

from echoscape.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[1]


def blocks():
    """Cut the commands of each block out of the README, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## On your own files$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
        lines = [shlex.split(line, comments=True) for line in block.splitlines()]
        yield [words for words in lines if words[:1] == ["echoscape"]]


BLOCKS = list(blocks())


def test_the_section_shows_every_stage():
    words = {line[1] for block in BLOCKS for line in block}
    assert words >= {"reports", "map", "echoes", "locate", "score", "follow", "track", "channel"}
    assert words >= {"pilots", "image", "estimate", "bound", "doctor"}


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[-1][1])
def test_every_line_runs_as_it_stands(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start, lines = BLOCKS[0][0], block[block is BLOCKS[0] :]
    assert start[3:5] == ["&&", "cd"]
    assert main(start[1:3]) == 0
    monkeypatch.chdir(tmp_path / start[5])
    for words in lines:
        assert main(words[1:]) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
