"""The page as a file: complete, small, and deaf to what names may contain."""

import dataclasses
import json
import re

import pytest

from echoscape.checks import InputError
from echoscape.viewer import ViewerScene, page, page_of, to_json, write_page

EMPTY = ViewerScene(title="a", lower=[0.0, 0.0, 0.0], upper=[1.0, 1.0, 1.0], ground=0.0)
EVIL = ViewerScene(title="</title><script>x</script>", lower=[], upper=[], ground=0.0)


def test_the_page_loads_nothing():
    text = page_of(EMPTY)
    assert "__" not in re.sub(r"[a-z]__[a-z]|__proto__", "", text)  # every part is filled in
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert "://" not in text
    assert "default-src 'none'" in text
    assert len(text) < 100_000


def test_a_scene_stays_text_in_the_page():
    text = page_of(EVIL)
    assert "<script>x" not in text
    stored = text.split('id="scene">')[1].split("</script>")[0]
    assert json.loads(stored)["title"] == EVIL.title


def test_text_in_the_page_is_shown_and_obeyed_by_nothing():
    name = "a\u202eb\x9bc\nd__SCENE__"
    text = page_of(dataclasses.replace(EVIL, title=name))
    shown = r"a\u202eb\x9bc\nd__SCENE__"
    assert f"<title>{shown}</title>" in text
    assert json.loads(text.split('id="scene">')[1].split("</script>")[0])["title"] == shown
    assert not set(text) & set("\u202e\x9b")


def test_a_file_is_the_page_or_the_scene(tmp_path):
    size = write_page(EMPTY, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size == size
    write_page(EMPTY, tmp_path / "scene.json")
    assert (tmp_path / "scene.json").read_text() == to_json(EMPTY)
    with pytest.raises(
        InputError, match=r"written as \.html, its scene as \.json; got 'page\.pdf'"
    ):
        write_page(EMPTY, tmp_path / "page.pdf")


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LARGEST_PAGE", 1000)
    with pytest.raises(InputError, match=r"show fewer reports or a coarser mesh"):
        write_page(EMPTY, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_is_null():
    assert json.loads(to_json(ViewerScene("a", [], [], ground=float("nan"))))["ground"] is None
