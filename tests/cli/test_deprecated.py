"""Old words of commands work, say what replaces them, and stay unknown elsewhere."""

from typing import Annotated

import cyclopts
import pytest

from echoscape.cli import application, deprecated
from echoscape.cli.deprecated import current_words
from echoscape.cli.options import deprecated_value


@pytest.fixture
def app(monkeypatch):
    for name in ("_OPTIONS", "_VALUES"):
        kept = getattr(deprecated, name)
        monkeypatch.setattr(deprecated, name, type(kept)(kept))
    app = cyclopts.App(name="echoscape")
    new = deprecated.deprecated(old="--most", new="--targets")

    @app.command
    def find(*, targets: Annotated[int, new] = 1, flag: bool = False, model: str = "b"):
        return targets, flag, model

    @app.command
    def other(*, most: int = 2):
        return most

    deprecated_value("--model", old="a", new="b")
    return app


def test_an_old_option_works_and_names_the_new_one(app):
    sentence = "--most is deprecated and will be removed in the next version; use --targets"
    assert current_words(app, ["find", "--most", "3"]) == (["find", "--targets", "3"], [sentence])
    assert current_words(app, ["find", "--most=3"]) == (["find", "--targets=3"], [sentence])


def test_an_option_of_that_name_elsewhere_is_left_alone(app):
    assert current_words(app, ["other", "--most", "3"]) == (["other", "--most", "3"], [])


def test_an_old_value_is_exchanged_in_both_spellings_and_only_after_its_option(app):
    assert current_words(app, ["find", "--model", "a"])[0] == ["find", "--model", "b"]
    assert current_words(app, ["find", "--model=a"])[0] == ["find", "--model=b"]
    words, sentences = current_words(app, ["find", "--flag", "a"])
    assert (words, sentences) == (["find", "--flag", "a"], [])


def test_the_command_line_prints_the_sentence(app, monkeypatch, capsys):
    monkeypatch.setattr(application, "app", app)
    application.main(["find", "--most", "3"])
    assert "warning: --most is deprecated" in capsys.readouterr().err


def test_nothing_and_nonsense_pass_unchanged(app):
    assert current_words(app, []) == ([], [])
    assert current_words(app, ["nonsense", "--most"]) == (["nonsense", "--most"], [])
