"""Outputs that survive: a file, files that belong together or a folder, in one step or not at all.

Everything is written into a draft beside its place, brought to the disk, and then takes its place
in one step: a file by renaming, a folder by exchanging names.  Whenever the process dies, the old
result or the new one is there, whole, and the next run removes what is left.  Where names of
folders cannot be exchanged (a mount point, the working folder, an old system) the files move one
by one out of a folder of intent, ``.echoscape-commit``; the next run completes what a kill broke
off.  Files that belong together take their places in the same way, and `committed` finds them in
between.

Within `protecting` (every command) an existing output is replaced only if this package wrote it.

Takes paths.
Gives temporary names; afterwards the outputs.
"""

import contextlib
import contextvars
import ctypes
import errno
import glob
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from echoscape.checks import InputError
from echoscape.files.draft import draft_in, leftovers

LIST = ".echoscape.json"
"""In every output folder: which of its files were written by the command."""
_COMMIT = ".echoscape-commit"
_MARK = b"echoscape"  # stands in the first or last bytes of every file that is written
_HEAD, _TAIL = 4096, 65536  # bytes
_CURES = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some of your quota or choose another disk",
    errno.EFBIG: "the system limits the size of files; choose another disk or raise the limit",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EIO: "the disk reports an error; choose another one",
}
_FORCE: contextvars.ContextVar[bool | None] = contextvars.ContextVar("force", default=None)


@contextlib.contextmanager
def protecting(force: bool = False) -> Iterator[None]:
    """Refuse, within the block, to replace outputs that this package did not write.

    Args:
        force: Replace them nevertheless.
    """
    token = _FORCE.set(force)
    try:
        yield
    finally:
        _FORCE.reset(token)


def is_protecting() -> bool:
    """Tell whether outputs of others are to be left alone."""
    return _FORCE.get() is False


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lend a temporary name beside `path` that takes its place when the block succeeds.

    An interrupted or failed block leaves whatever was at `path` before.

    Args:
        path: The file that shall exist afterwards; missing folders above it are made.
    """
    path = Path(path)
    check_output(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_in(path.parent, path.name) as draft:
            yield draft / path.name
            _sync(draft / path.name)
            os.replace(draft / path.name, path)
            _sync(path.parent)


@contextlib.contextmanager
def atomic_files(*paths: Path) -> Iterator[list[Path]]:
    """Lend temporary names for files of one folder that take their places together.

    An interrupted block leaves the old files; one that is killed while they are replaced leaves
    the new ones, in their places or where `committed` finds them.

    Args:
        paths: The files that shall exist afterwards; missing folders above them are made.
    """
    for path in paths:
        check_output(path)
    above, name = paths[0].parent, paths[0].name
    with explained(paths[0]):
        above.mkdir(parents=True, exist_ok=True)
        complete_commit(above)
        with draft_in(above, name) as draft:
            yield [draft / path.name for path in paths]
            _sync_tree(draft)
            intent = draft.with_suffix(_COMMIT)
            os.rename(draft, intent)
            _sync(above)
            _move_in(intent, above)


def committed(path: Path) -> Path:
    """Find a file of `atomic_files`: in its place, or on its way there where a kill left it."""
    on_their_way = path.parent.glob(f".*{_COMMIT}/{glob.escape(path.name)}")
    return next(on_their_way, path)


@contextlib.contextmanager
def atomic_folder(path: str | Path, marker: str, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Lend a temporary folder that takes the place of `path` when the block succeeds.

    Files of an existing folder that the last run did not write are kept.

    Args:
        path: The folder that shall exist afterwards.
        marker: The file in it that readers look for first, such as ``manifest.json``; an existing
            folder that has other content but no marker is refused.
        replaces: Patterns of files that belong to the output even where the folder has no list of
            its files, for folders of earlier versions.
    """
    path = Path(path)
    check_output_folder(path, marker)
    if path.is_symlink():
        path = path.resolve()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        complete_commit(path)
        name = path.resolve().name or "root"  # "." has none
        with draft_in(path if _must_stay(path) else path.parent, name) as draft:
            new = draft / name
            new.mkdir()
            yield new
            if not (new / marker).exists():
                raise RuntimeError(f"the block wrote no {marker}")
            written = sorted(_files(new))
            (new / LIST).write_text(
                json.dumps({"echoscape": 1, "marker": marker, "files": written}, indent=1)
            )
            _sync_tree(new)
            if not path.exists():
                os.rename(new, path)
            elif _must_stay(path) or not _exchange_keeping(new, path, replaces):
                _commit(new, path)
            _sync(path.parent)


def check_output(path: str | Path) -> None:
    """Refuse a place that no file may be written to, or that holds somebody else's file."""
    path = Path(path)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    except ValueError:
        raise InputError(f"{path} cannot be a name of a file; give another one") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder; give the name of a file to write")
    if stat.S_ISLNK(found.st_mode):
        raise InputError(
            f"{path} is a symbolic link; give the name of the file it points to, or remove it"
        )
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is a pipe, socket or device; give the name of a file to write")
    if is_protecting() and not is_written_here(path):
        raise InputError(
            f"{path} exists and was not written by echoscape; give another name, or replace it by "
            "--force"
        )


def check_output_folder(path: str | Path, marker: str) -> None:
    """Refuse a place that no folder may be written to, or a folder of something else."""
    path = Path(path)
    if path.is_dir():
        ours = (path / marker).exists() or (path / LIST).exists() or (path / _COMMIT).exists()
        if not ours and any(entry for entry in path.iterdir() if not _is_draft(entry)):
            raise InputError(
                f"{path} holds other files and no {marker}; give a new or empty folder"
            )
    elif path.exists():
        raise InputError(f"{path} is a file; give the name of a folder to write")
    elif path.is_symlink():
        raise InputError(f"{path} is a symbolic link to nothing; remove it or give another folder")


def is_written_here(path: Path) -> bool:
    """Tell whether this package wrote a file, or it is empty: its name stands in every output."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
            stream.seek(-min(_TAIL, stream.seek(0, os.SEEK_END)), os.SEEK_END)
            return not head or _MARK in head.lower() or _MARK in stream.read().lower()
    except OSError:
        return False


def complete_commit(path: Path) -> None:
    """Finish what a killed run had begun to put into a folder that cannot be exchanged."""
    for intent in leftovers(path, _COMMIT):
        _move_in(intent, path)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of writing into a sentence with the name that the user gave and the cure."""
    try:
        yield
    except OSError as error:
        if _is_draft(path) or any(_is_draft(above) for above in path.parents):
            raise  # whoever made the draft knows the name that the user gave
        named = str(error.filename or error)
        ours = ".echoscape-" in named or (error.filename and str(path).startswith(named))
        if ours or (_number(error) in _CURES and not error.filename):
            raise _unwritable(path, error) from error
        raise  # of something else that the block read or wrote


def _number(error: OSError) -> int:
    """Find the system's number of an error, which Arrow tells in its text alone."""
    told = re.search(r"\[errno (\d+)\]", str(error), re.IGNORECASE)
    return error.errno or (int(told[1]) if told else 0)


def _unwritable(path: Path, error: OSError) -> InputError:
    number = _number(error)
    reason = os.strerror(number).lower() if number else "no reason given"
    cure = _CURES.get(number, "choose a folder that you may write to")
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a folder above it is a file"
    return InputError(f"{path} cannot be written ({reason}); {cure}")


def _must_stay(path: Path) -> bool:
    """Tell whether a folder is one that no other can take the place of."""
    with contextlib.suppress(OSError):
        return path.exists() and (os.path.ismount(path) or path.samefile("."))
    return False


def _exchange_keeping(new: Path, path: Path, replaces: tuple[str, ...]) -> bool:
    """Exchange two folders, the files of others carried over; False where that is impossible."""
    ours = set(_listed(path)) | {str(f.relative_to(path)) for g in replaces for f in path.glob(g)}
    for name in sorted(_files(path) - ours):
        target = new / name
        if name == LIST or target.exists() or target.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path / name, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(path / name, target, follow_symlinks=False)
    shutil.copymode(path, new)
    return _exchange(new, path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, where the system can."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    here = -100 if sys.platform.startswith("linux") else -2  # AT_FDCWD
    names = here, os.fsencode(one), here, os.fsencode(other)
    if hasattr(library, "renameat2"):
        done = library.renameat2(*names, 2)  # RENAME_EXCHANGE
    elif hasattr(library, "renameatx_np"):
        done = library.renameatx_np(*names, 2)  # RENAME_SWAP
    else:
        return False
    return done == 0


def _commit(new: Path, path: Path) -> None:
    """Put files into a folder one by one, so that a kill in between can be completed."""
    intent = path / f".{path.resolve().name}{_COMMIT}"
    try:
        os.rename(new, intent)
    except OSError:  # another file system, such as below a bind mount
        with draft_in(path, path.resolve().name) as draft:
            shutil.copytree(new, draft / "new")
            _sync_tree(draft / "new")
            os.rename(draft / "new", intent)
    _sync(path)
    _move_in(intent, path)


def _move_in(intent: Path, path: Path) -> None:
    """Move all files of an intent to their places, the list and the marker last."""
    marker = ""
    if (intent / LIST).exists():  # else the list, which goes last, has gone already
        described = json.loads((intent / LIST).read_text())
        marker = described["marker"]
        for name in set(_listed(path)) - set(described["files"]):
            (path / name).unlink(missing_ok=True)
    for name in sorted(_files(intent), key=lambda name: (name == LIST, name == marker, name)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(intent / name, path / name)
    _sync(path)
    shutil.rmtree(intent, ignore_errors=True)


def _listed(folder: Path) -> list[str]:
    """List the files that the last run wrote into a folder, as far as it says so."""
    try:
        names = json.loads((folder / LIST).read_text())["files"]
        inside = [name for name in names if (folder / name).is_file() and ".." not in name]
        return [name for name in inside if not Path(name).is_absolute()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _files(folder: Path) -> set[str]:
    """List files and links below a folder, without drafts."""
    found = set()
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_draft(Path(name))]
        links = [name for name in folders if (Path(above) / name).is_symlink()]
        found |= {os.path.relpath(os.path.join(above, name), folder) for name in names + links}
    return found


def _is_draft(path: Path) -> bool:
    return path.name.endswith((".echoscape-draft", _COMMIT))


def _sync_tree(folder: Path) -> None:
    """Wait until everything below a folder is on the disk."""
    for above, _, names in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(above, name)):
                _sync(Path(above, name))
        _sync(Path(above))


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not in a cache."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
