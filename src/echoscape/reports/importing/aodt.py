"""NVIDIA Aerial Omniverse Digital Twin's results: its Parquet tables of rays and impulse responses.

Columns are those of "Results Schemas" in its documentation (versions 1.3 to 1.5): ``raypaths`` has
a row a ray with its `points` from the RU to the UE, ``cirs`` a row a pair of antenna elements with
`cir_re`, `cir_im` and `cir_delay` of every ray.  What that page leaves open is decided by the
numbers or asked for: the unit of `points` (the scene's) by the delays [s]; whether amplitudes are
gains or roots of received watts by Friis' law on rays without interaction.

Takes a folder of the tables.
Gives `Imported`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError
from echoscape.files.tabular import read_columns
from echoscape.reports.importing.column_names import parse_statements
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.path_rows import PathRows, reports_from_rows
from echoscape.units import from_db, length_of, wavelength_of

_RAYS = ("time_idx", "ru_id", "ue_id", "points")
_RESPONSES = ("time_idx", "ru_id", "ue_id", "cir_re", "cir_im", "cir_delay")
_UNITS = {1.0: "m", 0.01: "cm", 0.001: "mm", 0.3048: "ft", 0.0254: "in"}
_SAME = 0.01  # relative difference of a ray's length and its delay, or of two units
_FRIIS = 1.0  # a direct ray between isotropic antennas follows Friis' law to this [dB]
_ALIKE = 0.3  # radiated powers nearer to 1 W than this cannot tell the readings apart [dB]

Link = tuple[int, int, int]


class Aodt(Layout):
    """Rays of the Aerial Omniverse Digital Twin."""

    name = "aodt"
    files = "a folder with raypaths.parquet and cirs.parquet"

    def recognises(self, source: Path) -> bool:
        """Look for the table of rays."""
        return source.is_dir() and _find(source, "raypaths") is not None

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read every link of an RU and a UE at every time."""
        if not source.is_dir():
            raise InputError(f"{source} is no folder; the one with raypaths.parquet is needed")
        rays = _read(source, "raypaths", _RAYS)
        responses = _read(source, "cirs", _RESPONSES)
        links = _links(rays, source)
        taps = _taps(responses, source)
        if not links:
            raise InputError(f"{source}: raypaths has no row, so that no place is known; export it")
        scale, unit = _scale(links, taps, source)
        matched = {key: _match(key, scale, links[key], taps, source) for key in links}
        gains, told = _gains(matched, source, options)
        rows, lost = _rows(matched, gains, options)
        reports = reports_from_rows(rows, options.strongest, options.angle_std, options.length_std)
        notes = [
            Note("angles", f"points [{unit}, as the delays show], their first and last parts"),
            Note("delay", "length of the points; cir_delay [s] agrees"),
            Note("power", f"cir_re, cir_im: {told}"),
            Note("station", ", ".join(rows.names[:6])),
            Note("time", "none: time_idx counts steps of a length that no table tells"),
            *lost,
        ]
        idle = _without_rays(source, links)
        if idle:
            notes.append(
                Note(
                    "left out", f"{idle} UEs without any ray, whose antennas' place no table tells"
                )
            )
        return Imported(reports, tuple(notes), self.name)


def _find(folder: Path, name: str) -> Path | None:
    """Find a table: a file, or a folder of parts as catalogues keep them."""
    for place in (folder / f"{name}.parquet", folder / name / "data", folder / name):
        if place.is_file() or (place.is_dir() and any(place.glob("*.parquet"))):
            return place
    return None


def _read(folder: Path, name: str, needed: Sequence[str]) -> pa.Table:
    place = _find(folder, name)
    if place is None:
        raise InputError(
            f"{folder} lacks {name}.parquet, which the rays' delays and powers need; export it too"
        )
    parts = [place] if place.is_file() else sorted(place.glob("*.parquet"))
    wanted = (*needed, "ru_ant_el", "ue_ant_el")
    tables = [read_columns(part, f"the table {name}", only=wanted) for part in parts]
    for table in tables:
        lacking = [column for column in needed if column not in table.column_names]
        if lacking:
            raise InputError(
                f"{place} has no column {lacking[0]!r}, as AODT's {name} has; it has "
                f"{', '.join(table.column_names[:12])}"
            )
    have = [n for n in wanted if all(n in table.column_names for table in tables)]
    return pa.concat_tables([table.select(have) for table in tables], promote_options="permissive")


def _values(table: pa.Table, name: str, kind: pa.DataType, source: object) -> list:
    """Take a column of numbers, None where empty."""
    try:
        return table[name].cast(kind).to_pylist()
    except pa.ArrowException:
        what = "whole numbers" if pa.types.is_integer(kind) else "numbers"
        raise InputError(f"{source}: {name} must hold {what}; export it again") from None


def _keys(table: pa.Table, place: object) -> list[Link]:
    columns = [_values(table, name, pa.int64(), place) for name in ("time_idx", "ru_id", "ue_id")]
    if any(each is None for column in columns for each in column):
        raise InputError(f"{place}: time_idx, ru_id and ue_id must be known in every row")
    return list(zip(*columns))


def _point(value: Any) -> list[float]:
    return [float(each) for each in (value.values() if isinstance(value, dict) else value)]


def _elements(table: pa.Table, name: str, place: object) -> list[tuple[int, ...]]:
    """Read the numbers of antenna elements: tuples, lists or structs."""
    if name not in table.column_names:
        return [()] * table.num_rows
    try:
        return [
            tuple(int(n) for n in (each.values() if isinstance(each, dict) else each or ()))
            for each in table[name].to_pylist()
        ]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{place}: {name} must hold tuples of whole numbers") from None


def _links(table: pa.Table, source: Path) -> dict[Link, list[np.ndarray]]:
    """Gather the points of every link's rays, those of its first pair of elements."""
    found: dict[Link, dict[tuple, list[np.ndarray]]] = {}
    place = f"{source}: raypaths"
    keys = _keys(table, place)
    sent, heard = (_elements(table, name, place) for name in ("ru_ant_el", "ue_ant_el"))
    for row, (key, points) in enumerate(zip(keys, table["points"].to_pylist())):
        try:
            trail = np.array([_point(each) for each in points or ()], float).reshape(-1, 3)
        except (TypeError, ValueError, AttributeError):
            trail = np.zeros((0, 3))
        with np.errstate(over="ignore", invalid="ignore"):
            length = _lengths([trail])[0]
        if len(trail) < 2 or not 0 < length < 1e12:
            raise InputError(
                f"{source}: points in row {row + 1} of raypaths must be two or more finite places "
                "(x, y, z) from the RU to the UE, not all the same"
            )
        found.setdefault(key, {}).setdefault((sent[row][:2], heard[row][:2]), []).append(trail)
    return {key: by_element[min(by_element)] for key, by_element in found.items()}


def _taps(table: pa.Table, source: Path) -> dict[Link, dict[tuple, np.ndarray]]:
    """Gather delay and power of every pair of polarisations at each link's first elements."""
    found: dict[Link, dict[tuple, np.ndarray]] = {}
    place = f"{source}: cirs"
    keys = _keys(table, place)
    sent, heard = (_elements(table, name, place) for name in ("ru_ant_el", "ue_ant_el"))
    parts = (table[name].to_pylist() for name in ("cir_re", "cir_im", "cir_delay"))
    for row, (key, *lists) in enumerate(zip(keys, *parts)):
        try:
            real, imaginary, delay = (np.asarray(each or (), float) for each in lists)
        except (TypeError, ValueError):
            real, imaginary, delay = np.zeros(1), np.zeros(0), np.zeros(0)
        if not real.shape == imaginary.shape == delay.shape == (real.size,):
            raise InputError(
                f"{source}: cir_re, cir_im and cir_delay in row {row + 1} of cirs must be lists of "
                "numbers of one length"
            )
        if not (np.abs([*real, *imaginary, *delay]) < 1e9).all():
            raise InputError(f"{source}: row {row + 1} of cirs must hold finite numbers below 1e9")
        pair = (sent[row], heard[row])
        found.setdefault(key, {})[pair] = np.stack([delay, real**2 + imaginary**2])
    first = {}
    for key, by_pair in found.items():
        where = min((pair[0][:2], pair[1][:2]) for pair in by_pair)
        first[key] = {
            (pair[0][2:], pair[1][2:]): values for pair, values in by_pair.items()
            if (pair[0][:2], pair[1][:2]) == where
        }  # fmt: skip
    return first


def _lengths(trails: list[np.ndarray]) -> np.ndarray:
    return np.array([np.linalg.norm(np.diff(t, axis=0), axis=1).sum() for t in trails])


def _scale(links, taps, source: Path) -> tuple[float, str]:
    """Find the unit of the points: that in which shortest rays are as long as they are late."""
    ratios = [
        length_of(next(iter(taps[key].values()))[0].min()) / _lengths(trails).min()
        for key, trails in links.items()
        if taps.get(key) and next(iter(taps[key].values())).shape[1]
    ]
    if not ratios:
        raise InputError(
            f"{source}: no link of raypaths is in cirs, whose delays tell the unit of the points; "
            "export both of the same simulation"
        )
    middle = float(np.median(ratios))
    for scale, unit in _UNITS.items():
        if abs(middle / scale - 1) < _SAME:
            return scale, unit
    raise InputError(
        f"{source}: the shortest rays are {1 / middle if middle else math.inf:.4g} units of points "
        "long for each metre of their cir_delay [s], which is neither m, cm, mm, ft nor inches; "
        "absolute delays in seconds are needed"
    )


def _match(key: Link, scale: float, trails, taps, source: Path):
    """Give each ray of a link its power, by order, or else by length."""
    trails = [scale * trail for trail in trails]
    length = _lengths(trails)
    pairs = taps.get(key) or {}
    power = np.zeros(len(trails))
    if not pairs:
        raise InputError(f"{source}: cirs has no row of RU {key[1]} and UE {key[2]}, raypaths has")
    for delay, size in pairs.values():
        late = length_of(delay)
        order = np.arange(len(late))
        if len(late) == len(length) and not _agree(late, length):
            order = np.argsort(late, kind="stable")[np.argsort(np.argsort(length, kind="stable"))]
        if len(late) != len(length) or not _agree(late[order], length):
            raise InputError(
                f"{source}: RU {key[1]} and UE {key[2]} have {len(length)} rays whose lengths do "
                f"not agree with their {len(late)} values of cir_delay [s]; export both tables of "
                "the same simulation, with absolute delays"
            )
        power += size[order]
    return trails, length, power / max(1, len({sent for sent, _ in pairs}))


def _agree(late: np.ndarray, length: np.ndarray) -> bool:
    return bool((np.abs(late - length) <= _SAME * length + 0.05).all())


def _gains(matched, source: Path, options: ImportOptions) -> tuple[dict[int, float], str]:
    """Decide what amplitudes are: what to divide the powers of each RU by."""
    stations = sorted({key[1] for key in matched})
    stated = parse_statements(options.column)
    if options.transmit_power is not None:
        watts = from_db(options.transmit_power - 30.0)
        return dict.fromkeys(stations, watts), f"received, {options.transmit_power:g} dBm sent"
    if any(meaning.quantity in ("amplitude", "power") for meaning in stated.values()):
        return dict.fromkeys(stations, 1.0), "gains, as stated"
    sent = _radiated(source)
    wavelength = _wavelength(source)
    ask = (
        "state that they are gains by --column cir_re=amplitude, or what was transmitted by "
        "--transmit-power DBM"
    )
    if wavelength is None or not _isotropic(source):
        raise InputError(
            f"{source}: whether cir_re and cir_im are gains or received amplitudes is decided by "
            f"direct rays between isotropic antennas (patterns.parquet) of a known reference_freq "
            f"(panels.parquet) alone; {ask}"
        )
    off = {ru: [] for ru in stations}
    for (_, ru, _), (trails, length, power) in matched.items():
        for trail, metres, gain in zip(trails, length, power):
            if len(trail) == 2 and gain > 0:
                friis = (wavelength / (4 * math.pi * metres)) ** 2
                off[ru].append(10 * math.log10(gain / friis))
    middle = {ru: float(np.median(each)) for ru, each in off.items() if each}
    strength = {ru: 10 * math.log10(sent[ru]) for ru in middle if sent.get(ru, 0) > 0}
    gains = bool(middle) and all(abs(each) < _FRIIS for each in middle.values())
    received = bool(middle) and set(strength) == set(stations) == set(middle) and all(
        abs(middle[ru] - strength[ru]) < _FRIIS for ru in middle
    )  # fmt: skip
    if gains and received and all(abs(each) < _ALIKE for each in strength.values()):
        return dict.fromkeys(stations, 1.0), "gains (1 W was sent)"
    if gains == received:
        told = ", ".join(f"{each:.1f} dB at RU {ru}" for ru, each in list(middle.items())[:3])
        raise InputError(
            f"{source}: direct rays are {told or 'absent, so that nothing is'} above Friis' law, "
            f"which does not tell whether cir_re and cir_im are gains or received amplitudes; {ask}"
        )
    if gains:
        return dict.fromkeys(stations, 1.0), "gains, as direct rays show"
    return {ru: sent[ru] for ru in stations}, "received, over radiated_power [W] of rus"


def _radiated(source: Path) -> dict[int, float]:
    if _find(source, "rus") is None:
        return {}
    table = _read(source, "rus", ("ID", "radiated_power"))
    numbers = _values(table, "ID", pa.int64(), f"{source}: rus")
    powers = _values(table, "radiated_power", pa.float64(), f"{source}: rus")
    known = [watts is not None and math.isfinite(watts) for watts in powers]
    return {ru: watts for ru, watts, there in zip(numbers, powers, known) if there}


def _wavelength(source: Path) -> float | None:
    """Read the carrier of the panels, where they share one that is a frequency in Hz."""
    if _find(source, "panels") is None:
        return None
    table = _read(source, "panels", ("reference_freq",))
    found = set(_values(table, "reference_freq", pa.float64(), f"{source}: panels"))
    if len(found) != 1:
        return None
    (carrier,) = found
    carrier = 1e6 * carrier if carrier is not None and 1e2 < carrier < 1e6 else carrier  # MHz
    return wavelength_of(carrier) if carrier and 1e8 < carrier < 1e13 else None


def _isotropic(source: Path) -> bool:
    if _find(source, "patterns") is None:
        return False
    table = _read(source, "patterns", ("pattern_type",))
    kinds = _values(table, "pattern_type", pa.int64(), f"{source}: patterns")
    return bool(kinds) and set(kinds) == {0}


def _without_rays(source: Path, links) -> int:
    if _find(source, "ues") is None:
        return 0
    known = set(_values(_read(source, "ues", ("ID",)), "ID", pa.int64(), f"{source}: ues"))
    return len(known - {ue for _, _, ue in links})


def _rows(matched, gains, options: ImportOptions) -> tuple[PathRows, list[Note]]:
    """Lay the rays out; a UE that hears one RU and not another is in outage at the other."""
    stations = sorted({ru for _, ru, _ in matched})
    users = sorted({(time, ue) for time, _, ue in matched})
    one_time = len({time for time, _ in users}) == 1
    starts = {ru: [] for ru in stations}
    ends: dict[tuple[int, int], list[np.ndarray]] = {user: [] for user in users}
    for (time, ru, ue), (trails, _, _) in matched.items():
        starts[ru] += [trail[0] for trail in trails]
        ends[time, ue] += [trail[-1] for trail in trails]
    columns: dict[str, list] = {name: [] for name in (
        "report", "station", "position", "out", "back", "length", "power",
    )}  # fmt: skip
    outages = 0
    for number, (time, ue) in enumerate(users):
        place = np.mean(ends[time, ue], axis=0)
        for code, ru in enumerate(stations):
            trails, length, power = matched.get((time, ru, ue), ([], [], []))
            outages += not len(trails)
            nothing = np.full(3, np.nan)
            for k in range(max(1, len(trails))):
                there = k < len(trails)
                columns["report"].append(ue if one_time else number)
                columns["station"].append(code)
                columns["position"].append(place)
                columns["out"].append(trails[k][1] - trails[k][0] if there else nothing)
                columns["back"].append(trails[k][-2] - trails[k][-1] if there else nothing)
                columns["length"].append(length[k] if there else np.nan)
                columns["power"].append(power[k] / gains[ru] if there else np.nan)
    values = {name: np.array(each) for name, each in columns.items()}
    angles = {}
    for end, name in (("departure", "out"), ("arrival", "back")):
        x, y, z = values[name].T
        angles[f"{end}_azimuth"] = np.arctan2(y, x)
        angles[f"{end}_zenith"] = np.arctan2(np.hypot(x, y), z)
    rows = PathRows(
        report=values["report"],
        station=values["station"],
        names=options.names([f"ru-{ru}" for ru in stations]),
        station_position=np.stack([np.mean(starts[ru], axis=0) for ru in stations]),
        position=values["position"],
        time=np.zeros(len(values["report"])),
        length=values["length"],
        power=values["power"],
        **angles,
    )
    notes = [Note("outages", f"{outages} links of UEs that other RUs reach")] if outages else []
    if not one_time:
        notes.append(Note("pose", "time_idx and ue_id, numbered from 0 in their order"))
    return rows, notes
