"""A sweep: the rows of many settings, computed once each and kept as they come.

A study of an hour is interrupted sooner or later.  Every setting's rows are appended to one file as
soon as they exist, under a name made of the setting itself, so the same sweep asked for again goes
on where it ended and never mixes rows of two versions of a setting.

Takes settings (dictionaries of plain values) and a function from one setting to its rows.
Gives all rows, in the order of the settings.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from echoscape.checks import InputError
from echoscape.files.output import explained
from echoscape.progress import Progress

Setting = dict[str, Any]
"""One point of a sweep: names and plain values, its seed among them."""
Row = dict[str, Any]
"""One line of a result: plain values."""
Spread = Callable[
    [Callable[[Setting], Iterable[Row]], Sequence[Setting]], Iterable[tuple[int, list[Row]]]
]
"""Measures points in any order, and gives the number of each with its rows as it is done."""


def setting_name(setting: Setting) -> str:
    """Name a setting by its content, whatever the order of its entries."""
    text = json.dumps(setting, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sweep(
    settings: Sequence[Setting],
    measure: Callable[[Setting], Iterable[Row]],
    file: Path | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Row]:
    """Measure every setting that the file does not hold yet.

    A setting whose measurement raises a `InputError` stops the sweep; what was measured stays.

    Args:
        settings: Points of the sweep; each needs different content.
        measure: Gives the rows of one point; rows repeat the setting's entries by themselves.
        file: JSON lines, one a setting; created with its folder, or gone on with.
        progress: Told after each point.
        spread: How several points are measured at once; one after the other if not given.

    Returns:
        Rows of all settings, in their order, each with its setting's entries.

    Raises:
        InputError: Two settings are the same, or the file is not one of a sweep.
    """
    names = [setting_name(setting) for setting in settings]
    if len(set(names)) < len(names):
        raise InputError("each setting of a sweep needs different content, a seed for example")
    known = {} if file is None else read_sweep(file)
    left = [(name, setting) for name, setting in zip(names, settings) if name not in known]
    done = len(settings) - len(left)
    if progress is not None and left:
        progress(done, len(settings), _words(left[0][1]))
    for i, measured in (spread or one_by_one)(measure, [setting for _, setting in left]):
        name, setting = left[i]
        known[name] = [{**setting, **row} for row in measured]
        if file is not None:
            line = json.dumps({"name": name, "setting": setting, "rows": known[name]})
            with explained(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")
        done += 1
        if progress is not None and done < len(settings):
            progress(done, len(settings), _words(setting))
    if progress is not None:
        progress(len(settings), len(settings), "")
    return [row for name in names for row in known[name]]


def one_by_one(
    measure: Callable[[Setting], Iterable[Row]], settings: Sequence[Setting]
) -> Iterable[tuple[int, list[Row]]]:
    """Measure points one after the other in this process."""
    for i, setting in enumerate(settings):
        yield i, list(measure(setting))


def read_sweep(file: Path) -> dict[str, list[Row]]:
    """Read what a sweep has kept; a last line cut short by an interruption is left out and mended.

    Raises:
        InputError: The file holds something else.
    """
    if not file.exists():
        return {}
    # a byte that is no text spoils only its line's JSON, which is refused below
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    whole = text[: text.rfind("\n") + 1]
    known = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            line.encode()
            entry = json.loads(line)
            known[entry["name"]] = entry["rows"]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{file} needs the rows of a sweep, one JSON object a line; "
                f"line {number} is not: move the file away"
            ) from None
    if len(whole) < len(text):
        os.truncate(file, len(whole.encode("utf-8", "surrogateescape")))
    return known


def _words(setting: Setting) -> str:
    return ", ".join(f"{name} {value}" for name, value in list(setting.items())[:4])
