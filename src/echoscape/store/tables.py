"""The tables of a store, the same in SQLite and PostgreSQL.

Rows of reports, echoes, observations and fixes are only ever appended, under a key of their
content, so that sending them twice stores them once.  The paths of a set stand packed in one cell.
Every such row carries a checksum of all its columns.

Takes nothing.
Gives the tables, and `METADATA` that migrations are compared with.
"""

import sqlalchemy as sa

METADATA = sa.MetaData()
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER counts up in SQLite


def _number(name: str, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _kept(*columns: sa.Column) -> tuple[sa.Column, ...]:
    """Give appended rows their number, key and checksum around their own columns."""
    return (
        sa.Column("id", _ID, primary_key=True),
        sa.Column("key", sa.LargeBinary(16), nullable=False, unique=True),
        *columns,
        sa.Column("checksum", sa.BigInteger(), nullable=False),
    )


def _refers(name: str, table: str, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{table}.id"), nullable=nullable)


SETTINGS = sa.Table(
    "settings", METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text(), nullable=False),
)  # fmt: skip
"""How the store treats what it takes: privacy, and the secret that its keys are made with."""

STATIONS = sa.Table(
    "stations", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(256), nullable=False, unique=True),
    _number("x", nullable=True), _number("y", nullable=True), _number("z", nullable=True),
)  # fmt: skip
"""Base stations; a place is empty where only echoes named the station [m]."""

SOURCES = sa.Table(
    "sources", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(256), nullable=False, unique=True),
)  # fmt: skip
"""Where rows came from: a file, a testbed, a ray tracer."""

REPORTS = sa.Table(
    "reports", METADATA,
    *_kept(
        sa.Column("number", sa.BigInteger(), nullable=False),
        _refers("station", "stations"), _refers("source", "sources"), _number("time"),
        _number("x"), _number("y"), _number("z"), _number("position_std"),
        sa.Column("cell", sa.BigInteger(), nullable=False),
        sa.Column("paths", sa.LargeBinary(), nullable=False),
    ),
    sa.Index("reports_cell_time", "cell", "time"),
    sa.Index("reports_station_time", "station", "time"),
)  # fmt: skip
"""Users' reports; `cell` is the square of the ground that the user was in."""

ECHOES = sa.Table(
    "echoes", METADATA,
    *_kept(
        sa.Column("number", sa.BigInteger(), nullable=False),
        _refers("station", "stations"), _refers("sender", "stations"),
        _refers("source", "sources"), _number("time"),
        sa.Column("paths", sa.LargeBinary(), nullable=False),
    ),
    sa.Index("echoes_station_time", "station", "time"),
)  # fmt: skip
"""Sets of echoes: `number` is the target's, `sender` the station that transmitted."""

OBSERVATIONS = sa.Table(
    "observations", METADATA,
    *_kept(
        _refers("station", "stations"), _refers("source", "sources"), _number("time"),
        _number("x", nullable=True), _number("y", nullable=True), _number("z", nullable=True),
        sa.Column("paths", sa.LargeBinary(), nullable=False),
    ),
    sa.Index("observations_source_time", "source", "time"),
)  # fmt: skip
"""What one user's receiver measured over time; one source is one user's walk."""

MAPS = sa.Table(
    "maps", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer(), nullable=False),
    sa.Column("made", sa.String(32), nullable=False),
    sa.Column("parent", sa.Integer(), nullable=True),
    sa.Column("report_count", sa.BigInteger(), nullable=False),
    sa.Column("last_report", sa.BigInteger(), nullable=False),
    sa.Column("manifest", sa.Text(), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary(), nullable=False),
    sa.UniqueConstraint("name", "version"),
)  # fmt: skip
"""Versions of maps: the folder as one archive, and which reports it was learnt from."""

FIXES = sa.Table(
    "fixes", METADATA,
    *_kept(
        sa.Column("number", sa.BigInteger(), nullable=False),
        _refers("source", "sources"), _refers("map", "maps", nullable=True), _number("time"),
        sa.Column("status", sa.String(32), nullable=False),
        _number("x"), _number("y"), _number("z"),
        *(_number(f"cov_{pair}", nullable=True) for pair in ("xx", "xy", "xz", "yy", "yz", "zz")),
    ),
    sa.Index("fixes_time", "time"),
)  # fmt: skip
"""Where targets are: the first place of each, with its covariance where that is known [m^2]."""

FILES = sa.Table(
    "files", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("name", sa.String(1024), nullable=False),
    sa.Column("made", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("content", sa.LargeBinary(), nullable=True),
)  # fmt: skip
"""Snapshots, tracks and images, whole; without content the file stays where `name` says."""

TOKENS = sa.Table(
    "tokens", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(256), nullable=False, unique=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", sa.String(64), nullable=False),
    sa.Column("made", sa.String(32), nullable=False),
)  # fmt: skip
"""Who may use the service for what; of a token only its SHA-256 is kept."""

JOBS = sa.Table(
    "jobs", METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("request", sa.Text(), nullable=False),
    sa.Column("result", sa.Text(), nullable=True),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("made", sa.String(32), nullable=False),
    sa.Column("ended", sa.String(32), nullable=True),
)  # fmt: skip
"""Work that takes longer than an answer may: waiting, running, done or failed."""

APPENDED = (REPORTS, ECHOES, OBSERVATIONS, FIXES)
"""The tables whose rows carry a key and a checksum."""
