"""Jobs: work that takes longer than an answer may, kept so that it survives a restart.

Takes a kind and a request.
Gives the job's state, and its result when it is done.
"""

import dataclasses
import datetime
import json
from typing import Any

import sqlalchemy as sa

from echoscape.store.database import Store
from echoscape.store.tables import JOBS

MOST_ATTEMPTS = 3
"""A job that took its worker down so often is given up."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One piece of work."""

    number: int
    """By which it is asked for."""
    kind: str
    """What is to be done."""
    state: str
    """Waiting, running, done or failed."""
    request: dict[str, Any]
    """What it was asked with."""
    result: Any
    """What came of it, or why nothing did; None before that."""
    attempts: int
    """How often it was begun."""


def add_job(store: Store, kind: str, request: dict[str, Any]) -> Job:
    """Enter a job that waits."""
    row = {
        "kind": kind, "state": "waiting", "request": json.dumps(request), "attempts": 0,
        "made": _now(),
    }  # fmt: skip
    with store.writing() as connection:
        number = connection.execute(sa.insert(JOBS).values(**row)).inserted_primary_key
    assert number is not None
    found = find_job(store, number[0])
    assert found is not None
    return found


def find_job(store: Store, number: int) -> Job | None:
    """Look a job up; None if there is none of this number."""
    with store.reading() as connection:
        row = connection.execute(sa.select(JOBS).where(JOBS.c.id == number)).one_or_none()
    if row is None:
        return None
    result = None if row.result is None else json.loads(row.result)
    return Job(row.id, row.kind, row.state, json.loads(row.request), result, row.attempts)


def last_fit(store: Store, map_name: str) -> dict[str, Any]:
    """Give the request of the last job that fitted a map to reports; empty if there is none."""
    query = sa.select(JOBS.c.request).where(JOBS.c.kind == "fit", JOBS.c.state == "done")
    with store.reading() as connection:
        texts = connection.scalars(query.order_by(JOBS.c.id.desc()).limit(1000)).all()
    requests = map(json.loads, texts)
    return next((each for each in requests if each.get("map") == map_name), {})


def count_waiting(store: Store) -> int:
    """Count the jobs that wait."""
    query = sa.select(sa.func.count()).select_from(JOBS).where(JOBS.c.state == "waiting")
    with store.reading() as connection:
        return connection.scalar(query) or 0


def begin_job(store: Store) -> Job | None:
    """Take the job that waits longest, if there is any, and mark it as running."""
    with store.writing() as connection:
        waiting = sa.select(JOBS.c.id).where(JOBS.c.state == "waiting").order_by(JOBS.c.id).limit(1)
        if store.engine.dialect.name == "postgresql":
            waiting = waiting.with_for_update(skip_locked=True)
        number = connection.scalar(waiting)
        if number is None:
            return None
        begun = {"state": "running", "attempts": JOBS.c.attempts + 1}
        connection.execute(sa.update(JOBS).where(JOBS.c.id == number).values(**begun))
    return find_job(store, number)


def end_job(store: Store, number: int, state: str, result: Any) -> None:
    """Write down what came of a job."""
    values = {"state": state, "result": json.dumps(result), "ended": _now()}
    with store.writing() as connection:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == number).values(**values))


def resume_jobs(store: Store) -> int:
    """Let jobs wait again that ran when the last service died; give up those that kill workers.

    Returns:
        How many wait again.
    """
    running = JOBS.c.state == "running"
    given_up = json.dumps(f"given up: its worker died {MOST_ATTEMPTS} times")
    with store.writing() as connection:
        connection.execute(
            sa.update(JOBS).where(running, JOBS.c.attempts >= MOST_ATTEMPTS)
            .values(state="failed", result=given_up, ended=_now())
        )  # fmt: skip
        again = connection.execute(sa.update(JOBS).where(running).values(state="waiting"))
    return again.rowcount


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
