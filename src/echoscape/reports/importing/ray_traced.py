"""Flat tables of ray-traced paths (``.npz``) as reports, exact as a perfect receiver has them.

Takes rows of paths and, for each user, where its rows begin.
Gives `Reports` with the strongest paths of every user, in radians and seconds.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from echoscape.checks import InputError
from echoscape.files.npz import open_npz
from echoscape.propagation.traced_table import traced_arrays
from echoscape.reports.importing.column_names import Meaning
from echoscape.reports.importing.columns_to_rows import Choices, rows_of_columns
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.path_rows import reports_from_rows
from echoscape.reports.report import Reports

FIELDS = ("pos", "bs_pos", "offset", "a_re", "a_im", "tau_ns", "aod", "eod", "aoa", "eoa")
_CLAIMS = {
    "tau_ns": Meaning("delay", "ns"),
    "aod": Meaning("departure_azimuth", "rad"),
    "eod": Meaning("departure_elevation", "rad"),
    "aoa": Meaning("arrival_azimuth", "rad"),
    "eoa": Meaning("arrival_elevation", "rad"),
    "a_re": Meaning("amplitude_real"),
    "a_im": Meaning("amplitude_imaginary"),
}
STRONGEST = 12
"""Paths of each user that a ray tracer's table is cut to, unless stated."""


class RayTraced(Layout):
    """Flat tables: rows of user k are ``offset[k]`` to ``offset[k + 1]``."""

    name = "ray-traced"
    files = "a .npz of the arrays " + ", ".join(FIELDS)

    def recognises(self, source: Path) -> bool:
        """Look for the arrays that no other layout has."""
        if source.suffix.lower() != ".npz" or not source.is_file():
            return False
        try:
            with zipfile.ZipFile(source) as archive:
                names = {name.removesuffix(".npy") for name in archive.namelist()}
        except (zipfile.BadZipFile, OSError):
            return False
        return {"offset", "tau_ns"} <= names

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read a table."""
        return _imported(_load(source), None, options, str(source))


def reports_from_ray_traced(
    source: str | Path | Mapping[str, np.ndarray],
    users: Sequence[int] | Int[np.ndarray, " report"] | None = None,
    strongest: int = STRONGEST,
    station: str = "bs",
) -> Reports:
    """Make reports of a flat table: rows of user k are ``offset[k]`` to ``offset[k + 1]``.

    Args:
        source: A ``.npz`` file or its arrays: `pos` and `bs_pos` [m], `offset`, the coefficient
            `a_re`, `a_im`, the delay `tau_ns` [ns], azimuth and elevation of departure `aod`,
            `eod` and of arrival `aoa`, `eoa` [rad].
        users: Which users, all by default; they keep their index as number of the report.
        strongest: How many paths of each user to keep.
        station: Name of the base station.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The layout is another one, or a number cannot be right.
    """
    table = source if isinstance(source, Mapping) else _load(Path(source))
    name = "the ray-traced table" if isinstance(source, Mapping) else str(source)
    return _imported(table, users, ImportOptions((station,), strongest), name).reports


def _load(source: Path) -> dict[str, np.ndarray]:
    with open_npz(source, "a ray-traced .npz table") as archive:
        return {name: archive[name] for name in FIELDS if name in archive}


def _imported(
    table: Mapping[str, np.ndarray],
    users: Sequence[int] | Int[np.ndarray, " report"] | None,
    options: ImportOptions,
    source: str,
) -> Imported:
    # Vertical angles may be elevations or polar, as the direct paths say below.
    flat = {n: np.zeros(np.shape(table[n])) for n in ("eod", "eoa") if n in table}
    checked = traced_arrays({**table, **flat}, FIELDS)
    table = {**checked, **{name: np.asarray(table[name], np.float64) for name in flat}}
    offset = table["offset"].astype(np.int64)
    users = np.arange(len(offset) - 1) if users is None else np.asarray(users, dtype=np.int64)
    if len(users) and not (users.min() >= 0 and users.max() < len(offset) - 1):
        raise InputError(f"users must lie between 0 and {len(offset) - 2}, the table has no others")
    count = (offset[1:] - offset[:-1])[users]
    taken = np.maximum(count, 1)  # a user without a path keeps one row
    owner = np.repeat(np.arange(len(users)), taken)
    slot = np.arange(len(owner)) - np.repeat(np.cumsum(taken) - taken, taken)
    present = slot < count[owner]
    row = np.where(present, offset[users][owner] + slot, 0)
    place = np.asarray(table["pos"], np.float64)
    station = np.asarray(table["bs_pos"], np.float64)
    if options.strongest is not None and options.strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {options.strongest}")
    columns: dict[str, np.ndarray] = {"pose": users[owner]}
    for k, axis in enumerate("xyz"):
        columns[f"user_{axis}"] = place[users][owner, k]
        columns[f"station_{axis}"] = np.full(len(owner), station[k])
    for name in _CLAIMS:
        values = np.asarray(table[name], np.float64)
        laid = values[row] if len(values) else np.zeros(len(row))
        bad = present & ~np.isfinite(laid)
        if bad.any():
            raise InputError(
                f"{source}: array {name!r} must be finite, but row {row[np.argmax(bad)]} has "
                f"{laid[np.argmax(bad)]}; trace it again or leave the row out"
            )
        columns[name] = np.where(present, laid, np.nan)
    stated = options.choices()
    choices = Choices(
        {**_CLAIMS, **stated.column}, stated.station or ("bs",), stated.clockwise, None
    )
    rows, notes = rows_of_columns(columns, choices, source)
    reports = reports_from_rows(
        rows,
        STRONGEST if options.strongest is None else options.strongest,
        options.angle_std,
        options.length_std,
    )
    return Imported(reports, tuple(notes), RayTraced.name)
