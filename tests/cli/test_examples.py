"""The example with which every command's help ends, and the files with which they run."""

import shlex

import pytest

from echoscape.cli import app, main
from echoscape.cli.examples import EXAMPLES


def commands(of=app, path=()):
    for name in of:
        if not name.startswith("-"):
            below = [*commands(of[name], (*path, name))]
            yield from below or [" ".join((*path, name))]


COMMANDS = [*commands()]


def test_every_command_has_one_and_no_other_has():
    assert sorted(EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_a_line_with_options_that_exist(name):
    words = shlex.split(EXAMPLES[name])
    assert words[0] == "echoscape"
    said = "reports import" if name == "reports import-measured" else name  # which goes
    assert words[1:][: len(said.split())] == said.split()
    app.parse_args(words[1:], exit_on_error=False, print_error=False)


def test_a_line_with_an_option_that_does_not_exist_is_noticed():
    with pytest.raises(Exception, match="--nonsense"):
        app.parse_args(["map", "models", "--nonsense"], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", ["score", "map fit", "reports check"])
def test_help_ends_with_it(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == f"  {EXAMPLES[name]}"


def test_lines_go_on_from_one_another_and_from_the_files(tmp_path, monkeypatch, capsys):
    """Each file that an example reads is one of ours or was written by an example."""
    monkeypatch.chdir(tmp_path)
    assert main(["examples"]) == 0
    assert "map fit users.parquet" in capsys.readouterr().out
    there = {path.name for path in (tmp_path / "try").iterdir()}
    made = {"scenario", "site.db", "walls.geojson"}
    lines = [shlex.split(line) for line in EXAMPLES.values()]
    for words in lines:
        made |= {words[k + 1] for k, word in enumerate(words) if word in ("--out", "--truth")}
    made |= {"heard.parquet", "users.csv"}  # by README's line, by convert's own
    for words in lines:
        read = [word for word in words[1:] if word.endswith((".parquet", ".csv", ".npz", ".toml"))]
        written = {words[k + 1] for k, word in enumerate(words[:-1]) if word[:2] == "--"}
        assert {word for word in read if word not in written} <= there | made, words


def test_the_files_go_nowhere_that_holds_something_else(tmp_path, capsys):
    (tmp_path / "mine").write_text("of mine")
    assert main(["examples", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
