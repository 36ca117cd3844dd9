"""What a store lets go: old reports, and more of one place than anybody needs.

Takes a rule.
Gives how many rows went; `compact` gives the room back to the disk.
"""

from pathlib import Path
from typing import Any

import pydantic
import sqlalchemy as sa

from echoscape.store.database import Store
from echoscape.store.tables import ECHOES, FIXES, OBSERVATIONS, REPORTS


class Retention(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Which rows may go; none by default."""

    before: float | None = None
    """Reports, echoes, observations and fixes from before this time go [s]."""
    keep_per_cell: int | None = pydantic.Field(default=None, ge=1)
    """Of every station and square of the ground, only so many of the newest reports stay."""


def prune(store: Store, rule: Retention) -> dict[str, int]:
    """Delete what the rule lets go, all of it or nothing.

    Versions of maps keep their numbers of reports: what they were learnt from stays stated, even
    where it is gone.

    Returns:
        Rows deleted, by table.
    """
    gone: dict[str, int] = {}
    with store.writing() as connection:
        if rule.before is not None:
            for table in (REPORTS, ECHOES, OBSERVATIONS, FIXES):
                removed = connection.execute(sa.delete(table).where(table.c.time < rule.before))
                gone[table.name] = removed.rowcount
        if rule.keep_per_cell is not None:
            place = sa.func.row_number().over(
                partition_by=(REPORTS.c.station, REPORTS.c.cell),
                order_by=(REPORTS.c.time.desc(), REPORTS.c.id.desc()),
            )
            ranked = sa.select(REPORTS.c.id, place.label("place")).subquery()
            surplus = sa.select(ranked.c.id).where(ranked.c.place > rule.keep_per_cell)
            removed = connection.execute(sa.delete(REPORTS).where(REPORTS.c.id.in_(surplus)))
            gone[REPORTS.name] = gone.get(REPORTS.name, 0) + removed.rowcount
    return gone


def compact(store: Store) -> tuple[int, int]:
    """Give the room of deleted rows back, and let the database learn what is where.

    Returns:
        Size before and after [byte].
    """
    before = store_size(store)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if store.engine.dialect.name == "sqlite":
            raw: Any = connection.connection.driver_connection
            for line in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "ANALYZE"):
                raw.execute(line)
        else:
            connection.exec_driver_sql("VACUUM FULL ANALYZE")
    return before, store_size(store)


def store_size(store: Store) -> int:
    """Tell how much disk a store takes, what is written ahead included [byte]."""
    if store.engine.dialect.name == "sqlite":
        file = Path(str(store.engine.url.database))
        parts = [file, file.with_name(f"{file.name}-wal")]
        return sum(part.stat().st_size for part in parts if part.exists())
    with store.reading() as connection:
        size = connection.scalar(sa.text("select pg_database_size(current_database())"))
    return int(size or 0)
