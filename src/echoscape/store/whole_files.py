"""Snapshots, tracks, images and meshes in a store: whole files, or where they are.

Takes a file.
Gives its row, and the file again; one of the same content is kept once.
"""

import dataclasses
import datetime
import hashlib
from pathlib import Path

import sqlalchemy as sa

from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.store.database import Store, insert_new
from echoscape.store.tables import FILES

_LARGEST = 512 * 2**20  # [byte]: larger files are better kept by reference


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """What a store knows of a file."""

    number: int
    """Of the row."""
    kind: str
    """What it holds: snapshots, tracks, image, mesh."""
    name: str
    """Its name; where it is, if it is kept by reference."""
    made: str
    """When it was entered, in UTC."""
    size: int
    """Its size [byte]."""
    digest: str
    """SHA-256 of its content."""


def add_file(store: Store, path: str | Path, kind: str, *, reference: bool = False) -> StoredFile:
    """Enter a file.

    Args:
        store: Where.
        path: The file.
        kind: What it holds: snapshots, tracks, image, mesh.
        reference: Keep its place and its digest, and leave the file where it is.

    Raises:
        InputError: There is no such file, or it is too large to be kept whole.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    size = path.stat().st_size
    if size > _LARGEST and not reference:
        raise InputError(
            f"{path} has {size / 2**20:.0f} MiB, and a store keeps files up to "
            f"{_LARGEST / 2**20:.0f} MiB whole; keep it by reference"
        )
    content = None if reference else path.read_bytes()
    if content is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        digest = hashlib.sha256(content).hexdigest()
    row = {
        "kind": kind,
        "name": str(path.resolve()) if reference else path.name,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "size": size, "digest": digest, "content": content,
    }  # fmt: skip
    with store.writing() as connection:
        insert_new(connection, FILES, tuple(row), [tuple(row.values())])
    return next(file for file in list_files(store) if file.digest == digest)


def list_files(store: Store) -> list[StoredFile]:
    """List all files, without their content."""
    columns = [FILES.c.id, *(FILES.c[f.name] for f in dataclasses.fields(StoredFile)[1:])]
    with store.reading() as connection:
        rows = connection.execute(sa.select(*columns).order_by(FILES.c.id)).all()
    return [StoredFile(*row) for row in rows]


def take_file(store: Store, number: int, out: str | Path) -> StoredFile:
    """Write a file as it was.

    Raises:
        InputError: There is no such row, or the content is not what was entered.
    """
    found = next((file for file in list_files(store) if file.number == number), None)
    if found is None:
        raise InputError(f"{store} has no file of number {number}")
    with store.reading() as connection:
        content = connection.scalar(sa.select(FILES.c.content).where(FILES.c.id == number))
    if content is None:
        if not Path(found.name).is_file():
            raise InputError(f"file {number} was kept by reference, and {found.name} is gone")
        content = Path(found.name).read_bytes()
    if hashlib.sha256(bytes(content)).hexdigest() != found.digest:
        raise InputError(
            f"file {number} ({found.name}) is not what was entered: its digest differs"
        )
    with atomic_path(out) as draft:
        draft.write_bytes(bytes(content))
    return found
