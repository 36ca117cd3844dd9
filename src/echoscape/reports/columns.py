"""Columns of a table as numbers that can be trusted, or one sentence that says what to repair.

Every refusal names the file, the column with its unit, the row and the report or target, what came,
and how to fix it.  Rows are counted from 1 below the header.

Takes an Arrow table and its schema.
Gives numpy columns: finite, in range, in SI units.
"""

import difflib
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echoscape.checks import InputError, nearest_name
from echoscape.propagation.path_ranges import (
    Violation,
    azimuth_violation,
    deviation_violation,
    power_violation,
    zenith_violation,
)
from echoscape.reports.schema import Schema
from echoscape.units import length_of

LONGEST_DELAY = 1e-3
"""No delay is longer: 300 km, so that nanoseconds given as seconds are always noticed [s]."""

_LARGEST_DEVIATION = {
    "[rad]": (math.pi, "if these are degrees, multiply them by pi/180"),
    "[s]": (1e-5, "if these are nanoseconds, multiply them by 1e-9"),
}


class Columns:
    """The columns of one table, taken one by one and checked as they are taken."""

    def __init__(self, table: pa.Table, schema: Schema, source: str):
        """Check that the names of the columns fit the schema and that there are rows."""
        self.table, self.schema, self.source = table, schema, source
        self._check_names()
        if table.num_rows == 0:
            raise InputError(f"{source} has a header but no rows; at least one was needed")
        self.number = self.integer(schema.number) if schema.number else np.arange(table.num_rows)

    def has(self, name: str) -> bool:
        """Tell whether the column exists and has any value."""
        return name in self.table.column_names and self.table[name].null_count < len(self.table)

    def integer(self, name: str, fill: int | None = None) -> np.ndarray:
        """Take a column of whole numbers; `fill` stands for empty cells, which None refuses."""
        if fill is not None and not self.has(name):
            return np.full(len(self.table), fill)
        column = self.table[name]
        if not pa.types.is_integer(column.type):
            values = self.values(name)
            fraction = np.isfinite(values) & (values != np.floor(values))
            self.refuse(fraction | np.isinf(values), name, "must hold whole numbers", values)
        empty = column.is_null().to_numpy()
        if fill is None:
            self.refuse(empty, name, "must hold a whole number in every row")
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise InputError(f"{self.source}: column {name!r} must hold 64-bit integers") from error
        return pc.fill_null(column, -1 if fill is None else fill).to_numpy()

    def text(self, name: str, optional: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
        """Take a column of names as codes and the distinct names, by first appearance.

        An optional name may be left empty: its code is -1.
        """
        column = self.table[name]
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunk at all, or several dictionaries
            column = column.unify_dictionaries().combine_chunks()
        names = [str(value or "") for value in column.dictionary.to_pylist()]
        codes = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        missing = (codes < 0) | np.isin(codes, [i for i, value in enumerate(names) if not value])
        if not optional:
            self.refuse(missing, name, "must hold a name in every row")
        # a cut table keeps unused names
        used, codes = np.unique(np.where(missing, -1, codes), return_inverse=True)
        empty = int(len(used) > 0 and used[0] < 0)
        return codes - empty, tuple(names[i] for i in used[empty:])

    def values(self, name: str) -> np.ndarray:
        """Take a column of numbers, NaN where empty; a NaN that was written is refused."""
        column = self.table[name]
        if pa.types.is_null(column.type):
            return np.full(len(self.table), np.nan)
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if not numeric and not pa.types.is_decimal(column.type):
            unit = self.schema[name].unit or "(whole numbers)"
            raise InputError(
                f"{self.source}: column {name!r} must hold numbers {unit}, but it holds "
                f"{column.type}; convert it"
            )
        values = column.cast(pa.float64()).to_numpy()
        if np.isnan(values).any():
            written = np.isnan(values) & ~column.is_null().to_numpy()
            self.refuse(written, name, "must hold numbers", values, "leave unknown cells empty")
        return values

    def finite(self, name: str, fill: float | None = None) -> np.ndarray:
        """Take finite numbers; `fill` stands for empty cells, which None refuses."""
        if fill is not None and not self.has(name):
            return np.full(len(self.table), fill)
        values = self.values(name)
        if fill is None:
            self.refuse(np.isnan(values), name, "must not be empty")
        self.refuse(np.isinf(values), name, "must be finite", values)
        return values if fill is None else np.where(np.isnan(values), fill, values)

    def azimuth(self, name: str) -> np.ndarray:
        """Take azimuths, NaN where empty [rad]."""
        values = self._measured(name)
        self._obey(name, values, azimuth_violation(values))
        return np.clip(values, -math.pi, math.pi)

    def zenith(self, name: str) -> np.ndarray:
        """Take angles from +z, NaN where empty [rad]."""
        values = self._measured(name)
        self._obey(name, values, zenith_violation(values))
        return np.clip(values, 0.0, math.pi)

    def delay(self, name: str, longest: float = LONGEST_DELAY) -> np.ndarray:
        """Take delays, NaN where empty [s]."""
        values = self._measured(name)
        self.refuse(values < 0, name, "must not be negative", values)
        if np.any(values > longest):
            first = values[np.argmax(values > longest)]
            hint = (
                f"a path of {length_of(first) / 1e3:.4g} km is not physical, so if these are "
                "nanoseconds, multiply them by 1e-9 (microseconds: by 1e-6)"
            )
            self.refuse(values > longest, name, f"must stay below {longest:.3g}", values, hint)
        return values

    def power(self, name: str) -> np.ndarray:
        """Take linear power gains, NaN where empty."""
        values = self._measured(name)
        self._obey(name, values, power_violation(values))
        return values

    def deviation(self, name: str) -> np.ndarray:
        """Take standard deviations, NaN where empty; infinite says not measured."""
        if not self.has(name):
            return np.full(len(self.table), np.nan)
        values = self.values(name)
        most, hint = _LARGEST_DEVIATION.get(self.schema[name].unit, (math.inf, ""))
        self._obey(name, values, deviation_violation(values, most, hint))
        return values

    def refuse(
        self,
        bad: np.ndarray,
        name: str,
        needed: str,
        values: np.ndarray | None = None,
        hint: str = "",
    ) -> None:
        """Refuse the first bad row, if there is one, in one sentence."""
        if not bad.any():
            return
        row = int(np.argmax(bad))
        unit = self.schema[name].unit
        came = "is empty" if values is None else f"has {values[row]:.6g}"
        raise InputError(
            f"{self.source}: column {name!r} {needed}{' ' + unit if unit else ''}, but "
            f"{self.place(row)} {came}{'; ' + hint if hint else ''}"
        )

    def place(self, row: int) -> str:
        """Say where a row is: its number from 1, and the report or target it belongs to."""
        number = getattr(self, "number", None)
        owner = (
            ""
            if number is None or not self.schema.number
            else f" ({self.schema.number} {number[row]})"
        )
        return f"row {row + 1}{owner}"

    def _obey(self, name: str, values: np.ndarray, found: Violation | None) -> None:
        if found is not None:
            self.refuse(found.bad, name, found.needed, values, found.hint)

    def _measured(self, name: str) -> np.ndarray:
        if not self.has(name):
            return np.full(len(self.table), np.nan)
        values = self.values(name)
        self.refuse(np.isinf(values), name, "must be finite", values)
        return values

    def _check_names(self) -> None:
        known, found = self.schema.names, self.table.column_names
        unknown = [name for name in found if name not in known]
        lacking = [c.name for c in self.schema.columns if c.required and c.name not in found]
        for column in self.schema.columns:
            if column.name in found:
                continue
            if column.required:
                near = nearest_name(column.name, unknown)
                unit = f" {column.unit}" if column.unit else ""
                hint = f"; rename {near!r}" if near else f"; it has {_listed(found)}"
                if len(found) == 1 and any(mark in found[0] for mark in ";\t"):
                    hint = "; separate the columns by commas"
                elif self.schema.kind == "reports" and len(lacking) > 1:
                    hint += "; bring other layouts in by echoscape reports import SOURCE --out FILE"
                raise InputError(
                    f"{self.source} has no column {column.name!r}{unit}, which {self.schema.kind} "
                    f"need{hint}"
                )
            near = difflib.get_close_matches(column.name, unknown, 1, 0.9) or [
                name for name in unknown if sorted(name.lower()) == sorted(column.name)
            ]
            if near:
                raise InputError(
                    f"{self.source} has an unknown column {near[0]!r} where {column.name!r} was "
                    "probably meant; rename it"
                )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12]) or "none"
    return shown + (", ..." if len(names) > 12 else "")
