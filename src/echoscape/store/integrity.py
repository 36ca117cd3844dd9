"""Does a store still hold what was put in: the database's own test, and every row's checksum.

Takes a store.
Gives the rows that changed.
"""

import hashlib
from collections.abc import Iterator

import sqlalchemy as sa

from echoscape.progress import Progress, silent
from echoscape.store.checksum import checksum_of
from echoscape.store.database import Store
from echoscape.store.tables import APPENDED, FILES, MAPS

_CHUNK = 10_000  # rows looked at together


def check_store(store: Store, progress: Progress = silent) -> list[str]:
    """Test every row; say in one sentence each what is damaged.

    Args:
        store: Which.
        progress: Told how many rows of each table are done.

    Returns:
        Sentences; none if the store is whole.
    """
    found = list(_structure(store))
    with store.reading() as connection:
        for table in APPENDED:
            total = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            checksum = checksum_of(table)
            last, done = -(2**62), 0
            while True:
                rows = connection.execute(
                    sa.select(table).where(table.c.id > last).order_by(table.c.id).limit(_CHUNK)
                ).all()
                if not rows:
                    break
                found += [
                    f"row {row[0]} of {table.name} is not what was kept: its checksum differs"
                    for row in rows
                    if checksum(row[1:-1]) != row[-1]
                ]
                last, done = rows[-1][0], done + len(rows)
                progress(done, total, f"checking {table.name}")
        for table in (MAPS, FILES):
            for row in connection.execute(sa.select(table)):
                if row.content is not None:
                    digest = hashlib.sha256(bytes(row.content)).hexdigest()
                    if digest != row.digest:
                        found.append(
                            f"row {row.id} of {table.name} ({row.name}) is not what was kept: its "
                            "digest differs"
                        )
    return found


def _structure(store: Store) -> Iterator[str]:
    if store.engine.dialect.name != "sqlite":
        return
    with store.reading() as connection:
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite finds its file damaged: {line}"
