"""Opening and making stores: one address, one schema, one code path for both databases.

    sqlite:///site.db                       a file; made by `Store.create`
    postgresql://user:password@host/name    a server; the extra ``postgres``

A store of an older version is brought up to date by `Store.create`; one of a newer version is
refused.  SQLite writes ahead (WAL), so that readers never wait for the writer.

Takes an address.
Gives a `Store`.
"""

import contextlib
import functools
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, exc

from echoscape.checks import InputError
from echoscape.extras import need
from echoscape.store.privacy import Privacy
from echoscape.store.tables import METADATA, SETTINGS
from echoscape.text import printable

_WAIT = 60.0  # [s] that one writer waits for another
_CACHE = 256 * 1024  # [KiB] of pages that SQLite keeps: keys come in no order
_HERE = Path(__file__).parent


def _make_folder(folder: Path) -> None:
    """Make the folder that a store's file will be in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"no store can be made in {folder}: {error.strerror}; choose another folder"
        ) from error


def engine_of(url: str) -> sa.Engine:
    """Connect to a database, or say in one sentence why not.

    Args:
        url: Address, such as ``sqlite:///site.db``; a plain path is a file of SQLite.
    """
    try:
        url.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the address of a store must be text in UTF-8; got {printable(_hidden(url))}: give "
            "the file another name"
        ) from None
    if "://" not in url:
        url = f"sqlite:///{url}"
    try:
        address = sa.make_url(url)
    except exc.ArgumentError as error:
        raise InputError(
            f"{_hidden(url)!r} is no address of a store; write sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/NAME"
        ) from error
    if address.get_backend_name() == "sqlite":
        return _sqlite(address)
    if address.get_backend_name() != "postgresql":
        raise InputError(
            f"a store lives in SQLite or PostgreSQL; got {address.get_backend_name()!r}"
        )
    need("postgres", "PostgreSQL")
    address = address.set(drivername="postgresql+psycopg")
    return sa.create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 5})


def _sqlite(address: sa.URL) -> sa.Engine:
    engine = sa.create_engine(address, connect_args={"timeout": _WAIT})

    @event.listens_for(engine, "connect")
    def _prepare(connection, _):
        connection.isolation_level = None  # transactions begin where `begin` says
        for pragma in (
            "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
            f"cache_size=-{_CACHE}", "trusted_schema=OFF",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection):
        immediate = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


class Store:
    """An open store; use `Store.create` once and `Store.open` from then on."""

    engine: sa.Engine
    """Connections to the database."""
    privacy: Privacy
    """What the store forgets of users before anything is kept."""
    secret: bytes
    """Keys are made with it, so that they do not give contents away."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine
        with self.reading() as connection:
            rows = connection.execute(sa.select(SETTINGS.c.name, SETTINGS.c.value))
            settings = {name: value for name, value in rows}
        self.privacy = Privacy(**json.loads(settings["privacy"]))
        self.secret = bytes.fromhex(settings["secret"])

    @classmethod
    def create(cls, url: str, privacy: Privacy | None = None) -> "Store":
        """Make a store, or bring an existing one up to date.

        Args:
            url: Address.
            privacy: What to forget of users; fixed for good when the store is made.

        Raises:
            InputError: The address cannot be used, or the store exists with another privacy.
        """
        engine = engine_of(url)
        with _explained(engine):
            file = engine.url.database if engine.dialect.name == "sqlite" else None
            if file:
                _make_folder(Path(file).resolve().parent)
            if _version(engine) not in (None, *_known()):
                raise _newer(engine)
            _upgrade(engine)
            with engine.execution_options(writes=True).begin() as connection:
                present = connection.scalar(sa.select(sa.func.count()).select_from(SETTINGS))
                if not present:
                    first = {
                        "secret": secrets.token_bytes(32).hex(),
                        "privacy": (privacy or Privacy()).model_dump_json(),
                    }
                    connection.execute(
                        sa.insert(SETTINGS), [{"name": n, "value": v} for n, v in first.items()]
                    )
            store = cls(engine)
        if privacy is not None and privacy != store.privacy:
            raise InputError(
                f"{store} exists with the privacy {store.privacy}, which cannot change: what was "
                "forgotten is gone, and what was kept is kept; make another store"
            )
        return store

    @classmethod
    def open(cls, url: str) -> "Store":
        """Open a store that exists.

        Raises:
            InputError: There is none, or it is of another version; the message says what to do.
        """
        engine = engine_of(url)
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        if file is not None and not Path(file).is_file():
            raise InputError(f"there is no store {file}; make one: echoscape store init {url}")
        with _explained(engine):
            version = _version(engine)
            if version is None:
                raise InputError(
                    f"{_shown(engine)} holds no store; make one: echoscape store init URL"
                )
            if version not in _known():
                raise _newer(engine)
            if version != _known()[0]:
                raise InputError(
                    f"{_shown(engine)} is of an older version; bring it up to date: echoscape "
                    f"store init {_hidden(url)}"
                )
            return cls(engine)

    def __repr__(self) -> str:
        return f"Store({_shown(self.engine)!r})"

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Lend a connection that sees one state of the store throughout."""
        with _explained(self.engine), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Lend a connection whose changes are kept as a whole, or not at all."""
        with (
            _explained(self.engine),
            self.engine.execution_options(writes=True).begin() as connection,
        ):
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def insert_new(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], rows: Sequence[tuple]
) -> int:
    """Insert rows whose key is not there yet, and count them.

    Args:
        connection: Of `Store.writing`.
        table: Where to.
        names: Columns of the rows.
        rows: Cells in the order of the columns.
    """
    if not rows:
        return 0
    compiled = _compiled(connection.dialect, table, tuple(names))
    cells: list[Any] = list(rows)  # handed to the driver as they are, twice as fast
    if not compiled.positional:
        cells = [dict(zip(names, row)) for row in rows]
    elif tuple(compiled.positiontup or ()) != tuple(names):
        place = [names.index(name) for name in compiled.positiontup or ()]
        cells = [tuple(row[i] for i in place) for row in rows]
    return connection.exec_driver_sql(str(compiled), cells).rowcount


@functools.lru_cache(maxsize=64)
def _compiled(dialect: sa.Dialect, table: sa.Table, names: tuple[str, ...]) -> Any:
    """Write the statement that inserts new rows; a service keeps small batches all day."""
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    statement = insert(table).on_conflict_do_nothing()
    return statement.compile(dialect=dialect, column_keys=list(names))


def _upgrade(engine: sa.Engine) -> None:
    """Take every step of the schema that the database lacks, all of them or none."""
    steps = _steps()

    def lacking(revision: Any, context: Any) -> Any:
        return steps._upgrade_revs("head", revision)

    with (
        engine.execution_options(writes=True).begin() as connection,
        EnvironmentContext(Config(), steps, fn=lacking) as environment,
    ):
        environment.configure(connection=connection, target_metadata=METADATA)
        environment.run_migrations()


def _steps() -> ScriptDirectory:
    return ScriptDirectory(str(_HERE), version_locations=[str(_HERE / "migrations")])


def _known() -> list[str]:
    """List the versions of the schema that this package knows, the newest first."""
    return [step.revision for step in _steps().walk_revisions()]


def _version(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _newer(engine: sa.Engine) -> InputError:
    return InputError(
        f"{_shown(engine)} is of a newer version than this package knows; upgrade echoscape"
    )


def _shown(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _hidden(url: str) -> str:
    return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)


@contextlib.contextmanager
def _explained(engine: sa.Engine) -> Iterator[None]:
    """Turn what a database cannot do into one sentence."""
    try:
        yield
    except exc.DatabaseError as error:
        cause = str(error.orig).strip().splitlines()[0]
        if isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError):
            raise
        cures = {
            "locked": "another process writes to it for long; try again",
            "full": "free some space or choose another disk",
            "readonly": "make it writable or choose another place",
            "malformed": "it is damaged: `echoscape store check` names what is left of it",
            "not a database": "name another file, or move this one away",
            "unable to open": "does its folder exist, and may you write there?",
        }
        cure = next((text for word, text in cures.items() if word in cause), None)
        if cure is None and engine.dialect.name == "sqlite":
            cure = "the file may be damaged: take the newest copy of it"
        cure = cure or "is the server running, and are address, user and password right?"
        raise InputError(f"{_shown(engine)} cannot be used: {cause}; {cure}") from error
