r"""Text of files where it is shown: characters that a terminal, page or spreadsheet obeys.

A name in a table can hold escape sequences that rewrite a terminal, marks that turn the direction
of writing, or a formula that a spreadsheet runs.  Such characters are shown by their code, such as
``\x1b``; a cell of CSV that starts like a formula gets an apostrophe in front, which the reader
takes off again.

Takes text from anywhere.
Gives text that is only text.
"""

import re

_FORMULA = r"[=+\-@\t\r]"  # what spreadsheets take for the start of a formula
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls, but for ends of lines and tabs, and marks that turn the direction of writing."""


def printable(text: object, lines: bool = False) -> str:
    r"""Spell out characters that a terminal would obey, such as ``\x1b`` or ``\u202e``.

    These are controls, marks of direction, surrogates, private and unassigned code points, and
    separators other than the space.

    Args:
        text: Anything; shown as `str` shows it.
        lines: Keep ends of lines and tabs.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or (lines and character in "\n\t")
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def safe_cell(text: str) -> str:
    """Make a cell of CSV that nothing obeys: controls are spelt out, a formula gets an apostrophe.

    The apostrophe is taken off on reading; a control stays spelt out.
    """
    text = _OBEYED.sub(lambda found: printable(found[0]), text)
    return f"'{text}" if re.match(rf"'*{_FORMULA}", text) else text


def plain_cell(text: str) -> str:
    """Take off the apostrophe of `safe_cell`; other cells stay as they are."""
    return text[1:] if re.match(rf"'+{_FORMULA}", text) else text
