"""What several commands ask of their options before anything is computed.

Takes values of options.
Gives them back as the library wants them, or one sentence that names the option.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from echoscape.cli.deprecated import deprecated, deprecated_value

if TYPE_CHECKING:
    import numpy as np

    from echoscape.channel_map import ChannelMap

__all__ = [
    "LARGEST_DELAY_STD",
    "MapFolder",
    "Numbers",
    "Port",
    "check_deviations",
    "check_folder",
    "check_map_folder",
    "check_place",
    "check_stations",
    "check_table",
    "deprecated",
    "deprecated_value",
    "read_multiples",
    "read_range",
    "refuse_both",
    "refuse_same",
]

Port = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0, lte=65535))]
LARGEST_DELAY_STD = 1e-6
"""A larger deviation of a delay is an error of units, most likely nanoseconds [s]."""

Numbers = Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)]
"""Numbers with commas between, of which the first may be negative."""
MapFolder = Annotated[
    Path, cyclopts.Parameter(name="--map", help="Folder of maps that `echoscape map fit` wrote.")
]


def check_deviations(angle_std: float | None, delay_std: float | None) -> None:
    """Refuse deviations that are no deviation, or are in degrees or nanoseconds."""
    from echoscape.checks import InputError

    for option, unit, value, limit, meant, factor in (
        ("--angle-std", "rad", angle_std, math.pi, "degrees", "pi/180"),
        ("--delay-std", "s", delay_std, LARGEST_DELAY_STD, "nanoseconds", "1e-9"),
    ):
        if value is None:
            continue
        if not (value > 0 and math.isfinite(value)):
            raise InputError(f"{option} must be finite and above zero, in {unit}; got {value:g}")
        if value > limit:
            raise InputError(
                f"{option} must be at most {limit:.4g} {unit}; got {value:g}; if these are {meant},"
                f" multiply by {factor}"
            )


def check_table(path: Path, kind: str) -> None:
    """Refuse a name that no table of a kind can be written to, before the work, not after it."""
    from echoscape.files.tabular import table_suffix
    from echoscape.reports.files import check_table_output

    table_suffix(path)
    check_table_output(path, kind)
    check_place(path)


def check_place(path: Path) -> None:
    """Refuse a place that nothing can be written to, before the work and not after it."""
    import tempfile

    from echoscape.checks import InputError

    above = path if path.is_dir() else path.absolute().parent
    while not above.exists() and above != above.parent:
        above = above.parent
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        if not above.is_dir():
            reason = "a folder above it is a file"
        raise InputError(
            f"{path} cannot be written ({reason}); choose a folder that you may write to"
        ) from None


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be written to, before the work and not after it."""
    from echoscape.checks import InputError

    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give the name of a folder to write")
    check_place(path)


def refuse_same(source: Path, destination: Path) -> None:
    """Refuse to write over what is read."""
    from echoscape.checks import InputError

    if destination.exists() and source.exists() and destination.samefile(source):
        raise InputError(f"{destination} is the file to read; give another name to write to")


def check_map_folder(path: Path) -> None:
    """Refuse a folder that maps cannot be written to, before the work and not after it."""
    from echoscape.channel_map import load_manifest
    from echoscape.checks import InputError

    check_folder(path)
    if path.is_dir() and any(path.iterdir()):
        try:
            load_manifest(path)
        except InputError as refusal:
            if "no map folder" in str(refusal):
                raise InputError(
                    f"{path} exists and is no map folder; give another folder for the map"
                ) from None


def check_stations(
    maps: "Mapping[str, ChannelMap]", heard: Iterable[str], kind: str, folder: Path
) -> None:
    """Refuse echoes or reports of a station that the maps do not know."""
    from echoscape.checks import InputError

    unknown = sorted(set(heard) - set(maps))
    if unknown:
        raise InputError(
            f"the {kind} are of station {unknown[0]!r}, but {folder} holds maps of "
            f"{', '.join(map(repr, sorted(maps)))} only; fit a map of that station's reports"
        )


def read_range(text: str | None, option: str, unit: str) -> tuple[float, float] | None:
    """Read two numbers such as ``0.5,2`` in rising order."""
    from echoscape.checks import InputError

    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"{option} needs two rising numbers such as 0.5,2, in {unit}; got {text!r}"
        )
    return low, high


def read_triple(text: str | None, option: str, unit: str) -> "np.ndarray | None":
    """Read three numbers such as ``120.4,222.4,10``."""
    import numpy as np

    from echoscape.checks import InputError

    if text is None:
        return None
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.zeros(0)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise InputError(
            f"{option} needs three numbers with commas between, such as 1.5,-2,0.5, in {unit}; "
            f"got {text!r}"
        )
    return values


def refuse_both(**options: Any) -> None:
    """Refuse two options of which only one can hold; names with underscores, as in Python."""
    from echoscape.checks import InputError

    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"give either {' or '.join(given)}, not both")


def read_multiples(
    text: str, option: str, least: float = 1e-9, most: float = 100.0
) -> tuple[float, ...]:
    """Read different numbers above zero, or from `least` on, with commas between."""
    from echoscape.checks import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(least <= value < most for value in values):
        above = "above zero" if least > 0 else "from zero on"
        raise InputError(
            f"{option} needs different numbers {above} and below {most:g}, such as 5,10; "
            f"got {text!r}"
        )
    if len(set(values)) < len(values):
        raise InputError(f"{option} names a number twice; got {text!r}")
    return values
