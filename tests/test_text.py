"""No character of a file is obeyed by a terminal, a page or a spreadsheet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoscape.text import plain_cell, printable, safe_cell


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("bell\x07, \x9b2J", r"bell\x07, \x9b2J"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2066\u2069\u200f", r"\u2066\u2069\u200f"),
        ("line\u2028separator", r"line\u2028separator"),
        ("undecoded \udcff", r"undecoded \udcff"),
        ("Zürich, 北京, µ ±", "Zürich, 北京, µ ±"),
    ],
)
def test_what_a_terminal_obeys_is_spelt_out(raw, shown):
    assert printable(raw) == shown


def test_ends_of_lines_can_be_kept():
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@given(st.text(st.characters(), max_size=20))
def test_any_text_becomes_printable_and_can_be_encoded(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown


@given(st.text(st.sampled_from("'=+-@\ta "), max_size=6))
def test_a_cell_comes_back_and_never_starts_a_formula(text):
    safe = safe_cell(text)
    assert plain_cell(safe) == text
    assert not safe.startswith(("=", "+", "-", "@", "\t"))


def test_a_cell_keeps_lines_and_names_and_spells_out_what_moves_a_terminal():
    kept = "Zürich\u00a0\U0001f5fc, \ttwo\nlines \\x1b"
    assert safe_cell(kept) == kept
    assert safe_cell("a\rb\x1b[2J\u202e\x9b\u2066") == r"a\rb\x1b[2J\u202e\x9b\u2066"
    assert safe_cell("\r=1") == r"\r=1"
