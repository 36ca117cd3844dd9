"""Counts, spans, words: what results say of themselves, and how a wrong kind is refused."""

import dataclasses
import html
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from echoscape.checks import InputError
from echoscape.display import Displayed, Status, counted, expect, span


class Weather(Status):
    """A status of no stage."""

    DRY = 0
    """Go out."""
    WET = 3
    """Take a coat,
    or stay in."""
    DARK = 4


class Rain(Displayed):
    made_by = "read_rain(path)"

    def __init__(self, rows):
        self.rows = rows

    def summary_rows(self):
        return self.rows

    def to_arrow(self):
        return pa.table({"mm": [1.0, 2.5]})


def test_a_status_is_a_number_a_word_and_an_advice():
    assert Weather(3) is Weather.WET
    assert Weather.WET == 3
    assert str(Weather.WET) == "wet"
    assert f"{Weather.DRY:>5}" == "  dry"
    assert Weather.WET.advice == "Take a coat, or stay in."
    assert Weather.DARK.advice == ""
    assert np.array([3, 0])[0] == Weather.WET


def test_counts_and_spans_are_written_with_their_units():
    assert (counted(1, "echo", "echoes"), counted(1200, "report")) == ("1 echo", "1,200 reports")
    assert span(np.array([2e-7, 5e-7]), "ns", 1e9) == "200 to 500 ns"
    assert span(np.array([3.0, 3.0]), "m") == "3 m"
    assert span(np.array([]), "m") == "none"


def test_a_repr_is_lines_and_a_notebook_gets_an_escaped_table():
    shown = Rain({"days": "2", "where <b>": "a & b"})
    assert repr(shown) == "Rain\n  days       2\n  where <b>  a & b"
    page = shown._repr_html_()
    assert html.escape("where <b>") in page
    assert "a &amp; b" in page
    assert "<b>" not in page


def test_names_from_a_file_cannot_command_the_terminal():
    shown = Rain({"station": "mast\x1b[2J"})
    assert "\x1b" not in repr(shown)
    assert "\\x1b[2J" in repr(shown)
    assert "\x1b" not in shown._repr_html_()


@dataclasses.dataclass(repr=False)
class Filled(Rain):
    rows: Any

    def summary_rows(self):
        return {"sum": f"{float(self.rows.sum()):g}"}


def test_what_has_no_values_yet_still_prints():
    shown = []
    jax.jit(lambda rows: shown.append(repr(Filled(rows))))(jnp.ones(2))
    assert "not known yet" in shown[0]
    assert "not known yet" in repr(Filled(object()))
    assert "2" in repr(Filled(jnp.ones(2)))


@pytest.mark.parametrize("fault", [TypeError, ValueError, IndexError, AttributeError])
def test_a_fault_of_a_summary_is_not_hidden(fault):
    class Broken(Rain):
        def summary_rows(self):
            raise fault("a slip")

    with pytest.raises(fault):
        repr(Broken({}))


def test_a_summary_that_asks_for_a_wrong_column_is_not_taken_for_one_without_values():
    class Broken(Rain):
        def summary_rows(self):
            return self.rows["mm"]

    with pytest.raises(KeyError):
        repr(Broken({}))


def test_without_pandas_one_sentence_says_what_to_install(monkeypatch):
    real = importlib.import_module

    def without(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=r"needs the package pandas, .*: pip install pandas"):
        Rain({}).to_pandas()


def test_with_pandas_the_arrow_table_is_a_data_frame():
    pandas = pytest.importorskip("pandas")
    frame = Rain({}).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["mm"].tolist() == [1.0, 2.5]


class Holder:
    def __init__(self, echoes):
        self.echoes = echoes


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("rain.csv", r"draw needs Rain, but got the path 'rain\.csv'; make them by read_rain\("),
        (
            {"mm": [1.0]},
            r"draw needs Rain, but got a value of type builtins\.dict; make them by read_rain\(",
        ),
        (None, r"draw needs Rain, but got a value of type builtins\.NoneType"),
        (Holder(Rain({})), r"draw needs Rain, but got a value of type .*Holder; give its \.echoes"),
    ],
)
def test_a_wrong_kind_is_refused_with_the_cure(value, sentence):
    with pytest.raises(InputError, match=sentence):
        expect(value, Rain, "draw")
    expect(Rain({}), Rain, "draw")
