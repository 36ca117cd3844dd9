"""Files and folders are written whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from echoscape.checks import InputError
from echoscape.files import atomic_folder, atomic_path
from echoscape.files.output import is_written_here, protecting


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
        assert temporary.parent.parent == file.parent
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


def test_files_of_the_last_run_go_and_those_of_others_stay(tmp_path):
    folder = tmp_path / "map"
    with atomic_folder(folder, "manifest.json") as temporary:
        fill(temporary, "one")
        (temporary / "weights.bin").write_text("one")
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "link").symlink_to("mine")
    with atomic_folder(folder, "manifest.json") as temporary:
        fill(temporary, "two")
    assert not (folder / "weights.bin").exists()
    assert (folder / "link" / "notes.txt").read_text() == "mine"
    assert (folder / "link").is_symlink()


def test_files_of_earlier_versions_go_by_their_pattern(tmp_path):
    (tmp_path / "map").mkdir()
    for name in ("manifest.json", "arrays-1.bin", "notes.txt"):
        (tmp_path / "map" / name).write_text("old")
    with atomic_folder(tmp_path / "map", "manifest.json", ("arrays-*.bin",)) as temporary:
        fill(temporary, "new")
    names = {path.name for path in (tmp_path / "map").iterdir()}
    assert names == {"manifest.json", "notes.txt", "figures", ".echoscape.json"}


def test_the_working_folder_is_written_into_and_not_exchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    for text in ("one", "two"):
        with atomic_folder(".", "manifest.json") as temporary:
            fill(temporary, text)
            if text == "one":
                (temporary / "weights.bin").write_text(text)
    assert tmp_path.stat().st_ino == inode
    assert (tmp_path / "figures" / "a.png").read_text() == "two"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", "figures", ".echoscape.json"}


def test_a_draft_in_use_is_left_alone_and_a_forsaken_one_removed(tmp_path):
    forsaken = tmp_path / ".f.txt.01234567.echoscape-draft"
    forsaken.mkdir()
    (forsaken / "f.txt").write_text("half")
    with atomic_path(tmp_path / "f.txt") as one:
        one.write_text("one")
        assert not forsaken.exists()
        with atomic_path(tmp_path / "f.txt") as other:
            other.write_text("other")
        assert one.read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]
    assert (tmp_path / "f.txt").read_text() == "one"


def write(path, text="echoscape"):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_commands_replace_only_what_was_written_here_unless_forced(tmp_path):
    mine, ours, empty = (tmp_path / name for name in ("mine.txt", "ours.txt", "empty.txt"))
    mine.write_text("my thesis")
    empty.touch()
    write(ours)
    with protecting():
        write(ours, "echoscape again")
        write(empty)
        with pytest.raises(InputError, match=r"mine\.txt exists and was not written by echoscape"):
            write(mine)
        assert mine.read_text() == "my thesis"
    with protecting(force=True):
        write(mine)
    write(mine, "of Python, which asks nobody")
    assert mine.read_text().startswith("of Python")


@pytest.mark.parametrize("size", [0, 5000, 200_000])
def test_the_mark_is_found_at_either_end_of_a_file(tmp_path, size):
    file = tmp_path / "f"
    for content in (b"Echoscape" + b"x" * size, b"x" * size + b"echoscape"):
        file.write_bytes(content)
        assert is_written_here(file)
    file.write_bytes(b"x" * size + b"y")
    assert not is_written_here(file)


def test_links_pipes_and_devices_are_no_outputs(tmp_path):
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"link is a symbolic link; give the name of the file"):
        write(tmp_path / "link")
    with pytest.raises(InputError, match=r"pipe is a pipe, socket or device"):
        write(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"/dev/null is a pipe, socket or device"):
        write(Path("/dev/null"))
    (tmp_path / "nowhere").symlink_to("missing")
    with (
        pytest.raises(InputError, match=r"nowhere is a symbolic link to nothing"),
        atomic_folder(tmp_path / "nowhere", "marker"),
    ):
        pass
    assert (tmp_path / "real").read_text() == "real"


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "link", "manifest.json") as temporary:
            fill(temporary, text)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "manifest.json").read_text() == "two"


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(tmp_path):
    (tmp_path / "file").write_text("x")
    above = r"cannot be written \(a folder above it is a file\)"
    with pytest.raises(InputError, match=above), atomic_path(tmp_path / "file/f.parquet"):
        pass
    with pytest.raises(InputError, match=above), atomic_folder(tmp_path / "file/m", "marker"):
        pass
    full = r"f\.parquet cannot be written \(no space left on device\); free some space"
    with pytest.raises(InputError, match=full), atomic_path(tmp_path / "f.parquet") as temporary:
        raise OSError(errno.ENOSPC, f"cannot write {temporary}")
    with pytest.raises(InputError, match=full), atomic_path(tmp_path / "f.parquet"):
        raise OSError("[Errno 28] Error writing bytes. Detail: [errno 28] No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_an_error_of_something_else_keeps_its_own_words(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="no file other"),
        atomic_path(tmp_path / "f.parquet"),
    ):
        raise FileNotFoundError("there is no file other.csv")
    with pytest.raises(PermissionError), atomic_path(tmp_path / "f.parquet"):
        raise PermissionError(errno.EACCES, "denied", "/elsewhere/input.csv")


def test_a_disk_that_is_full_is_named_with_its_cure(tmp_path):
    program = (
        "import resource, signal, sys, pyarrow as pa, numpy as np\n"
        "from echoscape.reports.files import write_table\n"
        "from echoscape.reports.schema import FIXES\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "table = pa.table({'x': np.random.default_rng(0).normal(size=100_000)})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "for name in ('f.parquet', 'f.csv'):\n"
        "    try:\n        write_table(table, sys.argv[1] + '/' + name, FIXES)\n"
        "    except ValueError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    for line, name in zip(done.stdout.splitlines(), ("f.parquet", "f.csv"), strict=True):
        assert line.startswith(f"{tmp_path}/{name} cannot be written (file too large); ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_in_a_folder_names_the_folder(tmp_path, monkeypatch):
    """Within the draft of a folder the name of the draft would tell nobody anything."""

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    def write():
        with atomic_folder(tmp_path / "tracks", "user.parquet") as folder:
            monkeypatch.setattr(os, "fsync", full)
            with atomic_path(folder / "user.parquet") as draft:
                draft.write_text("x")

    with pytest.raises(InputError, match=r"/tracks cannot be written \(no space left on device\)"):
        write()
    assert list(tmp_path.iterdir()) == []
