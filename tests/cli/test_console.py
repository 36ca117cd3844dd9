"""What commands show: nothing that a terminal obeys, and progress that informs."""

import io
import json
import sys
import time

import pytest

from echoscape.checks import InputError
from echoscape.cli import application, console
from echoscape.cli.settings import make_method

_EVIL = "\x1b[2J\u202eevil\r\n[red]x[/red]"
_SHOWN = r"\x1b[2J\u202eevil\r\n[red]x[/red]"


def test_nothing_of_a_file_reaches_the_terminal_raw(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    console.print_table(_EVIL, {_EVIL: _EVIL})
    console.print_line(_EVIL.replace("\n", ""))
    console.print_warning(_EVIL)
    console.print_problem(_EVIL)
    console.print_json({_EVIL: _EVIL})
    told = capsys.readouterr()
    for text in told:
        assert not set(text) & set("\x1b\u202e\r")
    assert told.out.count(_SHOWN) == 3  # title, name and value
    assert told.err.count(_SHOWN) == 2
    assert r"\u001b[2J\u202eevil" in told.out  # JSON


def test_an_error_of_a_command_is_printed_as_text(capsys, tmp_path):
    name = tmp_path / "a\x1b[31m\u202e.csv"
    assert application.main(["reports", "check", str(name)]) == 2
    told = capsys.readouterr().err
    assert r"a\x1b[31m\u202e.csv" in told.replace("\n", "")
    assert "\x1b[31m" not in told


def test_an_unknown_word_of_a_command_is_printed_as_text(capsys):
    assert application.main(["reports", "check", "a.csv", "--\x1b[31m"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_commands_print_lines_by_print_line():
    import ast
    import pathlib

    folder = pathlib.Path(application.__file__).parent
    for path in folder.glob("*.py"):
        if path.name in ("console.py", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path.name} prints in line {node.lineno}"


def test_plain_lines_tell_stage_share_and_time_left():
    lines = console.PlainLines("compiling")
    start = lines._begin
    assert lines.line(start + 3) == "compiling: 3 s"
    lines(0, 10, "gr\x1bid")
    lines._start = start + 5
    lines(2, 10)
    assert lines.line(start + 9) == r"gr\x1bid: 20 %, 9 s, about 16 s left"
    lines(6, 10, "half")  # a stage that begins in the middle has no pace yet
    assert lines.line(start + 9) == "half: 60 %, 9 s"
    lines._start = start + 5
    lines(8, 10)
    assert lines.line(start + 9) == "half: 80 %, 9 s, about 4 s left"
    lines(10, 10, "refining")
    assert lines.line(start + 9).startswith("refining: 100 %, 9 s, about 0 s left")


def test_where_nobody_watches_lines_come_even_within_a_long_step(monkeypatch, capsys):
    monkeypatch.setattr(console.PlainLines, "FIRST", 0.05)
    monkeypatch.setattr(console.PlainLines, "EVERY", 0.05)
    with console.progress("compiling") as tell:
        tell(1, 4, "grid")
        time.sleep(0.3)
    shown = capsys.readouterr().err
    assert shown.count("grid: 25 %") >= 2
    assert "\r" not in shown
    with console.progress("compiling", quiet=True) as tell:
        tell(1, 4, "grid")
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_brief_work_says_nothing(capsys):
    with console.progress("compiling") as tell:
        tell(1, 4, "grid")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_the_stage(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("compiling") as tell:
        tell(1, 4, "the [grid]\x07")
        tell(2, 4, "the [grid]\x07")
    assert r"the [grid]\x07" in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_json_holds_what_programs_read(capsys):
    console.print_json({"a": float("nan"), "b": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, 2]}


@pytest.mark.parametrize("value", ["0", "-1", "many", "inf", ""])
def test_a_limit_that_is_none_is_refused(value, capsys):
    assert application.main(["reports", "check", "a.csv", f"--largest-input={value}"]) == 2
    assert "--largest-input must be above zero, in GB" in capsys.readouterr().err


def test_force_and_the_limit_hold_for_every_command(tmp_path, capsys, monkeypatch):
    seen = {}

    def watch(words, **_):
        from echoscape.files import limits, output

        seen.update(force=output._FORCE.get(), limit=limits._LIMIT.get(), words=words)

    monkeypatch.setattr(application, "app", watch)
    monkeypatch.setattr(application, "current_words", lambda app, words: (words, []))
    assert application.main(["map", "fit", "--largest-input", "2", "--force"]) == 0
    assert seen == {"force": True, "limit": 2e9, "words": ["map", "fit"]}
    application.main(["map", "fit"])
    assert seen == {"force": False, "limit": None, "words": ["map", "fit"]}


def commands(app=application.app, path=()):
    """Every command that does something, with the names of its options."""
    for name in app:
        if not name.startswith("-"):
            if app[name].default_command is not None:
                options = app[name].assemble_argument_collection()
                yield " ".join((*path, name)), {each for one in options for each in one.names}
            yield from commands(app[name], (*path, name))


def test_every_command_that_writes_shows_progress_unless_asked_not_to():
    writes = {"--out", "--export", "--figure", "--echoes"}
    without = {
        name for name, options in commands() if options & writes and "--quiet" not in options
    }
    assert without <= {"tutorial"}  # which copies a file


@pytest.mark.parametrize("seed", ["-1", str(2**63), "1" + 40 * "0"])
@pytest.mark.parametrize("command", ["map fit", "map leave-one-out", "track"])
def test_a_seed_that_no_generator_takes_is_refused_before_the_work(command, seed, capsys):
    further = ["--station", "0,0,0"] if command == "track" else []
    words = [*command.split(), "nothing.csv", "--out", "new", f"--seed={seed}", *further]
    assert application.main(words) == 2
    assert "--seed" in capsys.readouterr().err


def test_a_setting_beyond_what_arrays_hold_is_refused():
    from echoscape.estimation import METHODS

    with pytest.raises(InputError, match=r"--set most must be below .* in size; got 9999"):
        make_method(METHODS, "greedy", ["most=" + 40 * "9"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init", "a.db", "--jitter", "inf"], "'jitter_std' should be a finite number; got inf"),
        (["prune", "b.db", "--before", "nan"], "'before' should be a finite number; got nan"),
        (["prune", "b.db", "--keep-per-cell", "1" + 40 * "0"], "Must be <"),
    ],
)
def test_a_store_refuses_numbers_that_are_none(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert application.main(["store", "init", "b.db"]) == 0
    assert application.main(["store", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (SystemExit(143), 143)])
def test_a_stopped_command_ends_before_the_interpreter_is_taken_down(stop, code, monkeypatch):
    ended = []
    monkeypatch.setattr(application.signal, "signal", lambda *words: None)
    monkeypatch.setattr(application.atexit, "_run_exitfuncs", lambda: ended.append("registered"))
    monkeypatch.setattr(application.os, "_exit", ended.append)
    monkeypatch.setattr(application.sys, "argv", ["echoscape", "doctor"])

    def interrupted(*words):
        raise stop

    monkeypatch.setattr(application, "current_words", interrupted)
    assert application.main() == code
    assert ended == ["registered", code]


def test_another_exit_is_passed_on(monkeypatch):
    monkeypatch.setattr(application.signal, "signal", lambda *words: None)
    monkeypatch.setattr(application.os, "_exit", lambda code: pytest.fail("left at once"))
    monkeypatch.setattr(application, "_run", lambda words: sys.exit(3))
    with pytest.raises(SystemExit, match="3"):
        application.main()
