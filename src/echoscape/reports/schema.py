"""Which columns each table has, in which unit: the one list that readers and the manual share.

Takes nothing.
Gives `REPORTS`, `ECHOES`, `FIXES` and `OBSERVATIONS`, checked against `docs/formats.md` by a test.
"""

import dataclasses
from typing import Literal

VERSION = 1
"""Version of all three formats; raised when a reader of the old one would go wrong."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    """Its name in the file."""
    kind: Literal["integer", "number", "text"]
    """What a cell holds."""
    unit: str
    """Unit in brackets as messages print it; empty for text and whole numbers."""
    required: bool = False
    """Whether a table without it is refused."""


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of one kind of table; further columns are kept and ignored."""

    kind: str
    """Plural noun: reports, echoes, fixes, observations."""
    number: str
    """The column that numbers a report or target; empty where only time orders the rows."""
    columns: tuple[Column, ...]
    others: tuple[str, ...] = ()
    """Further kinds of tables that have these columns too and are read as well."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        """Find a column by its name."""
        return next(column for column in self.columns if column.name == name)


ANGLES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")
DEVIATIONS = tuple(f"{name}_std" for name in (*ANGLES, "delay"))
STATION_POSITION = ("station_x", "station_y", "station_z")
POSITION = ("x", "y", "z")
COVARIANCE = ("cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz")


def _numbers(names: tuple[str, ...], unit: str, required: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, "number", unit, required) for name in names)


_DEVIATIONS = (*_numbers(DEVIATIONS[:4], "[rad]"), Column("delay_std", "number", "[s]"))

REPORTS = Schema(
    "reports",
    "report",
    (
        Column("report", "integer", "", True),
        Column("station", "text", "", True),
        *_numbers(STATION_POSITION, "[m]"),
        Column("time", "number", "[s]"),
        *_numbers(POSITION, "[m]", True),
        Column("position_std", "number", "[m]"),
        Column("path", "integer", ""),
        *_numbers(ANGLES[:2], "[rad]", True),
        *_numbers(ANGLES[2:], "[rad]"),
        Column("delay", "number", "[s]", True),
        Column("power", "number", "[linear]", True),
        *_DEVIATIONS,
    ),
)

ECHOES = Schema(
    "echoes",
    "target",
    (
        Column("target", "integer", "", True),
        Column("station", "text", "", True),
        Column("sender", "text", ""),
        Column("time", "number", "[s]"),
        *_numbers(ANGLES, "[rad]", True),
        Column("delay", "number", "[s]", True),
        Column("power", "number", "[linear]", True),
        *_DEVIATIONS,
    ),
)

FIXES = Schema(
    "fixes",
    "target",
    (
        Column("target", "integer", "", True),
        Column("rank", "integer", ""),
        Column("station", "text", ""),
        *_numbers(POSITION, "[m]", True),
        *_numbers(COVARIANCE, "[m^2]"),
        Column("log_likelihood", "number", "[1]"),
        Column("status", "text", "", True),
        Column("agreeing_starts", "integer", ""),
        Column("starts", "integer", ""),
        Column("method", "text", ""),
        Column("probability", "number", "[1]"),
        Column("spread", "number", "[m]"),
        *_numbers(("clock_bias", "clock_bias_std"), "[s]"),
        *_numbers(("heading_bias", "heading_bias_std"), "[rad]"),
    ),
)

USER_POSITION = ("user_x", "user_y", "user_z")

OBSERVATIONS = Schema(
    "observations",
    "",
    (
        Column("time", "number", "[s]", True),
        *_numbers(ANGLES, "[rad]", True),
        Column("delay", "number", "[s]", True),
        Column("power", "number", "[linear]", True),
        *_DEVIATIONS,
        *_numbers(USER_POSITION, "[m]"),
    ),
)
