"""Files and folders are written whole or not at all."""

import errno
import os

import pytest

from echoscape.checks import InputError
from echoscape.reports import atomic_folder, atomic_path


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


def interrupted_file(path):
    with atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise Interrupted


def interrupted_folder(path):
    with atomic_folder(path, "manifest.json") as temporary:
        fill(temporary, "half")
        raise Interrupted


def test_an_interrupted_file_leaves_the_old_one_and_no_litter(tmp_path):
    file = tmp_path / "deep" / "map.bin"
    with atomic_path(file) as temporary:
        temporary.write_text("old")
        assert not file.exists()
        assert temporary.parent == file.parent
        assert temporary.suffix == ".bin"
    with pytest.raises(Interrupted):
        interrupted_file(file)
    assert file.read_text() == "old"
    assert [path.name for path in file.parent.iterdir()] == ["map.bin"]
    with (
        pytest.raises(InputError, match=r"deep is a folder; give the name of a file"),
        atomic_path(tmp_path / "deep"),
    ):
        pass


def fill(folder, text):
    (folder / "figures").mkdir()
    (folder / "figures" / "a.png").write_text(text)
    (folder / "manifest.json").write_text(text)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "map"
    with pytest.raises(Interrupted):
        interrupted_folder(folder)
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(folder, "manifest.json") as temporary:
        fill(temporary, "one")
        assert not folder.exists()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(Interrupted):
        interrupted_folder(folder)
    assert (folder / "manifest.json").read_text() == "one"
    with atomic_folder(folder, "manifest.json") as temporary:
        fill(temporary, "two")
    assert (folder / "manifest.json").read_text() == "two"
    assert (folder / "figures" / "a.png").read_text() == "two"
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_a_folder_of_other_things_is_not_written_into(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with (
        pytest.raises(InputError, match=r"holds other files and no manifest\.json"),
        atomic_folder(tmp_path, "manifest.json"),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"thesis\.tex is a file"),
        atomic_folder(tmp_path / "thesis.tex", "manifest.json"),
    ):
        pass
    with (
        pytest.raises(RuntimeError, match=r"wrote no manifest"),
        atomic_folder(tmp_path / "new", "manifest.json"),
    ):
        pass
    assert not (tmp_path / "new").exists()


def write_three(folder):
    with atomic_folder(folder, "manifest.json") as temporary:
        fill(temporary, "three")
        (temporary / "weights.bin").write_text("three")


def test_a_folder_interrupted_while_files_move_has_no_marker(tmp_path, monkeypatch):
    folder = tmp_path / "map"
    for text in ("one", "two"):
        with atomic_folder(folder, "manifest.json") as temporary:
            fill(temporary, text)
            (temporary / "weights.bin").write_text(text)
    replace, moved = os.replace, []

    def interrupted(source, destination):
        assert not (folder / "manifest.json").exists()
        moved.append(destination.name)
        if len(moved) == 3:
            raise Interrupted
        replace(source, destination)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(Interrupted):
        write_three(folder)
    assert moved[-1] == "manifest.json"
    assert not (folder / "manifest.json").exists()
    assert (folder / "weights.bin").read_text() == "three"


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(tmp_path):
    (tmp_path / "file").write_text("x")
    above = r"cannot be written \(a folder above it is a file\)"
    with pytest.raises(InputError, match=above), atomic_path(tmp_path / "file/f.parquet"):
        pass
    with pytest.raises(InputError, match=above), atomic_folder(tmp_path / "file/m", "marker"):
        pass
    full = r"f\.parquet cannot be written \(no space left on device\)"
    with pytest.raises(InputError, match=full), atomic_path(tmp_path / "f.parquet") as temporary:
        raise OSError(errno.ENOSPC, f"cannot write {temporary}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
