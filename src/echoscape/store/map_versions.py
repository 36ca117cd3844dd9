"""Versions of maps in a store, each with what it was learnt from.

A version holds the map's folder as one archive, byte for byte; its manifest stands beside it as
text, so that settings and scores can be read without opening the archive.

Takes a folder that `save_map` wrote.
Gives the folder again.
"""

import dataclasses
import datetime
import hashlib
import io
import tarfile
from pathlib import Path

import sqlalchemy as sa

from echoscape.checks import InputError, unknown_name
from echoscape.files import atomic_folder
from echoscape.store.database import Store
from echoscape.store.tables import MAPS

_MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class MapVersion:
    """One version of a map."""

    number: int
    """Of the row, by which fixes name it."""
    name: str
    """Of the map."""
    version: int
    """Counted from 1 for each name."""
    made: str
    """When it was kept, in UTC."""
    parent: int | None
    """Version that it was updated from."""
    report_count: int
    """How many reports it was learnt from."""
    last_report: int
    """Number of the last of them; later ones are news to it."""
    manifest: str
    """Settings and scores, JSON."""


def add_map(
    store: Store,
    folder: str | Path,
    name: str,
    *,
    report_count: int = 0,
    last_report: int = 0,
    parent: int | None = None,
) -> MapVersion:
    """Keep a map's folder as the next version of its name.

    Args:
        store: Where.
        folder: As `save_map` wrote it.
        name: Of the map.
        report_count: How many reports it was learnt from.
        last_report: Number of the last of them in the store.
        parent: Version that it was updated from.

    Raises:
        InputError: The folder holds no map.
    """
    folder = Path(folder)
    if not (folder / _MANIFEST).is_file():
        raise InputError(f"{folder} holds no map: it has no {_MANIFEST}")
    content = _archive(folder)
    row = {
        "name": name,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parent": parent, "report_count": report_count, "last_report": last_report,
        "manifest": (folder / _MANIFEST).read_text(encoding="utf-8"),
        "digest": hashlib.sha256(content).hexdigest(), "content": content,
    }  # fmt: skip
    with store.writing() as connection:
        newest = connection.scalar(
            sa.select(sa.func.max(MAPS.c.version)).where(MAPS.c.name == name)
        )
        row["version"] = (newest or 0) + 1
        connection.execute(sa.insert(MAPS).values(**row))
    return next(v for v in list_maps(store) if (v.name, v.version) == (name, row["version"]))


def list_maps(store: Store) -> list[MapVersion]:
    """List all versions of all maps, without their content."""
    columns = [MAPS.c.id, *(MAPS.c[f.name] for f in dataclasses.fields(MapVersion)[1:])]
    with store.reading() as connection:
        rows = connection.execute(sa.select(*columns).order_by(MAPS.c.id)).all()
    return [MapVersion(*row) for row in rows]


def take_map(store: Store, name: str, out: str | Path, version: int | None = None) -> MapVersion:
    """Write a version of a map, the newest if none is named, as the folder it was.

    Raises:
        InputError: There is no such map or version, or its content is damaged.
    """
    every = list_maps(store)
    of_name = [v for v in every if v.name == name]
    if not of_name:
        raise unknown_name("map of the store", name, {v.name for v in every})
    chosen = [v for v in of_name if version in (None, v.version)]
    if not chosen:
        raise InputError(f"map {name!r} has the versions 1 to {of_name[-1].version}; got {version}")
    found = chosen[-1]
    with store.reading() as connection:
        content, digest = connection.execute(
            sa.select(MAPS.c.content, MAPS.c.digest).where(MAPS.c.id == found.number)
        ).one()
    if hashlib.sha256(bytes(content)).hexdigest() != digest:
        raise InputError(f"version {found.version} of map {name!r} is damaged; take another one")
    with (
        atomic_folder(out, _MANIFEST) as folder,
        tarfile.open(fileobj=io.BytesIO(bytes(content))) as archive,
    ):
        archive.extractall(folder, filter="data")
    return found


def _archive(folder: Path) -> bytes:
    """Pack the files of a folder, in the order of their names and without dates."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                entry = tarfile.TarInfo(path.name)
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return out.getvalue()
