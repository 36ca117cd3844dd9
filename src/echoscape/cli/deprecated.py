"""Old words of the command line: they work for one version and say what replaces them.

Old names are kept out of help and of functions' signatures: the words are exchanged before they
are parsed, and each exchange prints one sentence.

Takes the words after ``echoscape``.
Gives the words that today's commands understand, and the sentences to print.
"""

from collections.abc import Sequence

import cyclopts

_OPTIONS: set[tuple[str, str]] = set()
_VALUES: dict[tuple[str, str], str] = {}


def deprecated(*, old: str, new: str) -> cyclopts.Parameter:
    """Name an option and keep its old name working.

    Use it in the annotation: ``Annotated[int, deprecated(old="--most", new="--targets")]``.  The
    old name works in those commands only that have the new one.

    Args:
        old: Name of before, with its dashes.
        new: Name that help shows.
    """
    _OPTIONS.add((old, new))
    return cyclopts.Parameter(name=new)


def deprecated_value(option: str, *, old: str, new: str) -> None:
    """Keep an old value of an option working: ``deprecated_value("--model", old="a", new="b")``."""
    _VALUES[option, old] = new


def current_words(app: cyclopts.App, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Exchange the old words of a command for today's.

    Returns:
        The words, and a sentence for each exchange.
    """
    words, sentences = list(words), []
    if not words or not {"--help", "-h", "--version"}.isdisjoint(words):
        return words, sentences
    try:
        chain = app.parse_commands(words)[1]
        arguments = chain[-1].assemble_argument_collection()
    except (cyclopts.CycloptsError, ValueError):  # not a command: refused where it is run
        return words, sentences
    known = {name for argument in arguments for name in argument.names}
    option = ""
    for at, word in enumerate(words):
        if word == "--":
            break
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            for old, new in _OPTIONS:
                if option == old and new in known and old not in known:
                    sentences.append(_sentence(old, new))
                    option = new
            if (option, value) in _VALUES:
                sentences.append(
                    _sentence(f"{option} {value}", f"{option} {_VALUES[option, value]}")
                )
                value = _VALUES[option, value]
            words[at] = f"{option}{equals}{value}"
        elif option in known and (option, word) in _VALUES:
            sentences.append(_sentence(f"{option} {word}", f"{option} {_VALUES[option, word]}"))
            words[at] = _VALUES[option, word]
            option = ""
        else:
            option = ""
    return words, sentences


def _sentence(old: str, new: str) -> str:
    return f"{old} is deprecated and will be removed in the next version; use {new}"
