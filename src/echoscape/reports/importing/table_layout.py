"""Tables of any names: one row a path, or one row a user with its paths side by side.

Measured campaigns, spreadsheets, the point-data format and Sionna's names in CSV all come so.

Takes text tables, Parquet, ``.npz`` and ``.mat`` files of named arrays, MATLAB structs.
Gives `Imported`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echoscape.checks import InputError
from echoscape.files.npz import open_npz
from echoscape.reports.importing.column_names import meaning
from echoscape.reports.importing.columns_to_rows import Note, rows_of_columns
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.path_rows import reports_from_rows
from echoscape.reports.importing.structs import columns_of_structs
from echoscape.reports.importing.text_table import is_text_table, read_text_table

_NUMBERED = re.compile(r"^(.*?)[_\s.\-]?(\d{1,3})$")
_PATHS = {
    "delay", "length", "excess_delay", "power", "path_loss", "received_power", "amplitude",
    "departure_azimuth", "departure_zenith", "departure_elevation", "arrival_azimuth",
    "arrival_zenith", "arrival_elevation", "amplitude_real", "amplitude_imaginary",
}  # fmt: skip


class Measured(Layout):
    """Lists of paths with names of their own: one row a path, arrays over paths, or structs."""

    name = "measured"
    files = ".csv, .tsv, .txt (.gz), .parquet, .npz or .mat: one row a path, or arrays over users"

    def recognises(self, source: Path) -> bool:
        """Recognise nothing: it is what remains."""
        return False

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read a table, wide or long."""
        return import_columns(read_columns(source), options, str(source), self.name)


class PointData(Layout):
    """One row a user, its paths side by side: ``delay_1, aod_1, ... delay_2, aod_2, ...``."""

    name = "point-data"
    files = ".csv, .tsv (.gz) or .parquet: one row a user, columns delay_1, aod_1, delay_2, ..."

    def recognises(self, source: Path) -> bool:
        """Look for numbered columns."""
        if not is_text_table(source) or source.is_dir():
            return False
        return bool(numbered_columns(read_text_table(source).column_names))

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read a wide table."""
        columns = read_columns(source)
        if not numbered_columns(list(columns)):
            raise InputError(
                f"{source} has no numbered columns such as delay_1 and delay_2; use --layout "
                "measured for one row a path"
            )
        return import_columns(columns, options, str(source), self.name)


def import_columns(
    columns: Mapping[str, np.ndarray], options: ImportOptions, source: str, layout: str
) -> Imported:
    """Make reports of columns with foreign names."""
    columns = long_columns(columns)
    rows, notes = rows_of_columns(columns, options.choices(), source)
    reports = reports_from_rows(rows, options.strongest, options.angle_std, options.length_std)
    return Imported(reports, tuple(notes), layout)


def read_columns(source: Path) -> dict[str, np.ndarray]:
    """Read the columns of a table, or the arrays of an archive, one row a path or a user."""
    suffix = source.suffix.lower()
    if is_text_table(source):
        return columns_of_table(read_text_table(source))
    if suffix == ".parquet":
        from pyarrow import parquet

        try:
            return columns_of_table(parquet.read_table(source))
        except pa.ArrowException as error:
            raise InputError(
                f"{source} cannot be read as parquet ({str(error).splitlines()[0]}); write it again"
            ) from error
    if suffix == ".mat":
        return columns_of_structs(source)
    if suffix == ".npz":
        with open_npz(source, "an .npz of arrays over users and paths") as archive:
            arrays = {name: archive[name] for name in archive if meaning(name) is not None}
        return columns_of_arrays(arrays, str(source))
    raise InputError(
        f"{source} must end in .csv, .tsv, .txt (or these with .gz), .parquet, .npz or .mat, which "
        "tells the format of the list"
    )


def columns_of_table(table: pa.Table) -> dict[str, np.ndarray]:
    """Turn Arrow columns into numpy: numbers with NaN for empty cells, text, or times."""
    found = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_null(column.type):
            found[name] = np.full(len(column), np.nan)
        elif pa.types.is_boolean(column.type):
            found[name] = pc.fill_null(column.cast(pa.int8()), 0).to_numpy()
        elif pa.types.is_integer(column.type) and column.null_count == 0:
            found[name] = column.to_numpy()
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or (
            pa.types.is_decimal(column.type)
        ):  # fmt: skip
            found[name] = column.cast(pa.float64()).to_numpy()
        elif pa.types.is_timestamp(column.type) and column.type.tz is None:
            found[name] = column.to_numpy()
        elif pa.types.is_timestamp(column.type):
            found[name] = column.cast(pa.timestamp("us")).to_numpy()
        else:
            values = column.cast(pa.string()) if not pa.types.is_string(column.type) else column
            found[name] = np.array(values.to_pylist(), dtype=object)
    return found


def numbered_columns(names: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Find columns that come once for each path, by what precedes their number."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        found = _NUMBERED.match(name)
        if found and found[1]:
            claim = meaning(found[1])
            if claim is not None and claim.quantity in _PATHS:
                groups.setdefault(found[1], []).append((int(found[2]), name))
    wide = {stem: sorted(each) for stem, each in groups.items()}
    return wide if len(wide) >= 2 else {}


def long_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn one row a user with numbered columns into one row a path; long tables stay.

    A path that is not there has empty or zero cells throughout; users without any keep one row.
    """
    wide = numbered_columns(list(columns))
    if not wide:
        return dict(columns)
    numbers = sorted({number for each in wide.values() for number, _ in each})
    users = len(next(iter(columns.values())))
    taken = {name for each in wide.values() for _, name in each}
    long = {
        name: np.repeat(values, len(numbers)) for name, values in columns.items()
        if name not in taken
    }  # fmt: skip
    filled = np.zeros((users, len(numbers)), bool)
    blocks = {}
    for stem, each in wide.items():
        block = np.full((users, len(numbers)), np.nan)
        for number, name in each:
            values = np.asarray(columns[name])
            if values.dtype.kind not in "fiub":
                raise InputError(f"column {name!r} must hold numbers; leave unknown cells empty")
            block[:, numbers.index(number)] = values
        blocks[stem] = block
        filled |= np.isfinite(block) & (block != 0)
    for stem, block in blocks.items():
        long[stem] = np.where(filled, block, np.nan).ravel()
    long["path"] = np.tile(np.arange(len(numbers)), users)
    keep = filled.copy()
    keep[:, 0] |= ~filled.any(axis=1)
    return {name: values[keep.ravel()] for name, values in long.items()}


def columns_of_arrays(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Lay arrays over (user, path), (user, 3) and scalars out as columns, one row a path."""
    understood = {name: found for name in arrays if (found := meaning(name)) is not None}
    usable = {name: np.asarray(arrays[name]) for name in understood}
    paths = {n: v for n, v in usable.items() if v.ndim == 2 and understood[n].quantity in _PATHS}
    if not paths:
        flat = {n: v for n, v in usable.items() if v.ndim == 1 and len(v) > 1}
        if flat and len({len(v) for v in flat.values()}) == 1:
            return _with_vectors(usable, len(next(iter(flat.values()))), 1, source)
        raise InputError(
            f"{source} holds no arrays over users and paths that are understood; it has "
            f"{', '.join(list(arrays)[:14])}; name them as docs/formats.md says"
        )
    shapes = {v.shape for v in paths.values()}
    if len(shapes) > 1:
        words = ", ".join(f"{n} {v.shape}" for n, v in paths.items())
        raise InputError(f"{source} needs arrays over users and paths of one shape; got {words}")
    users, width = shapes.pop()
    return _with_vectors(usable, users, width, source)


def _with_vectors(usable, users: int, width: int, source: str) -> dict[str, np.ndarray]:
    columns = {}
    for name, values in usable.items():
        claim = meaning(name)
        quantity = claim.quantity if claim else ""
        if quantity.endswith("_position"):
            rows = values.reshape(1, -1) if values.ndim == 1 else values
            if rows.shape[-1] not in (2, 3) and rows.shape[0] in (2, 3):
                rows = rows.T
            if len(rows) not in (1, users):
                raise InputError(
                    f"{source}: {name!r} needs one position or one for each of {users} users; got "
                    f"shape {values.shape}; give each transmitter its own file"
                )
            rows = np.broadcast_to(rows, (users, rows.shape[1]))
            for k in range(rows.shape[1]):
                end = quantity.removesuffix("_position")
                columns[f"{end}_{'xyz'[k]}"] = np.repeat(rows[:, k], width)
        elif values.size == 1:
            columns[name] = np.full(users * width, values.ravel()[0])
        elif values.shape == (users, width):
            columns[name] = values.ravel()
        elif values.size == users:
            columns[name] = np.repeat(values.ravel(), width)
    paths = [n for n in columns if (meaning(n) or Note("", "")).quantity in _PATHS]
    filled = np.zeros(users * width, bool)
    for name in paths:
        filled |= np.isfinite(columns[name]) & (columns[name] != 0)
    for name in paths:
        columns[name] = np.where(filled, columns[name], np.nan)
    keep = filled.reshape(users, width).copy()
    keep[:, 0] |= ~keep.any(axis=1)
    return {name: values[keep.ravel()] for name, values in columns.items()}
