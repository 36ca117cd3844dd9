"""The command: a recorded set through a pipe into a store, and lines that are refused."""

import io
import sys
from types import SimpleNamespace

import pytest

from echoscape.cli import main
from echoscape.reports import write_reports
from echoscape.store import Store, count_rows
from tests.store.test_store import reports


@pytest.fixture
def walk(tmp_path):
    write_reports(reports(12, seed=4), tmp_path / "walk.parquet")
    Store.create(str(tmp_path / "site.db")).close()
    return tmp_path


def pipe(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))


def test_a_recorded_set_goes_through_a_pipe(walk, capsys, monkeypatch):
    words = ["stream", "send", str(walk / "walk.parquet"), "--kind", "reports", "--together", "5"]
    assert main(words) == 0
    lines = capsys.readouterr().out
    assert len(lines.splitlines()) == 3
    pipe(monkeypatch, lines)
    assert main(["stream", "keep", "--store", str(walk / "site.db")]) == 0
    assert "walk: 5 new" in capsys.readouterr().out
    store = Store.open(str(walk / "site.db"))
    assert count_rows(store)["reports"] == 12
    store.close()


def test_refused_lines_are_counted_and_the_others_kept(walk, capsys, monkeypatch):
    assert main(["stream", "send", str(walk / "walk.parquet"), "--kind", "reports"]) == 0
    good = capsys.readouterr().out
    pipe(monkeypatch, "{}\n\n" + good)
    assert main(["stream", "keep", "--store", str(walk / "site.db")]) == 2
    out = capsys.readouterr()
    assert "1 of 2 batches were refused; first line 1" in " ".join(out.err.split())
    assert "12 new" in out.out


def test_options_that_make_no_sense_are_refused(walk, capsys):
    words = ["stream", "send", str(walk / "walk.parquet"), "--kind", "reports", "--speed", "-1"]
    assert main(words) == 2
    assert "above zero" in capsys.readouterr().err
    assert main(["stream", "keep", "nowhere", "--store", str(walk / "site.db")]) == 2
    assert "free port" in " ".join(capsys.readouterr().err.split())
