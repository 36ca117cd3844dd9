"""Remcom Wireless InSite's results: ``*.paths.tNNN_NN.rNNN.p2m`` and what stands beside them.

A file holds all receivers of one set for one transmitter: for each its number and number of paths,
then for each path a line of numbers (with or without the phase), the interactions' letters, and
the points from transmitter to receiver.  Receivers without paths have a number and a zero only;
where they stand is in the ``.pl.`` file, or in the project's ``.txrx`` file, if a set of points in
it agrees with the receivers that have paths.  Powers are received powers [dBm].

Takes a folder, or one of its ``.paths.`` files.
Gives `Imported`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from echoscape.checks import InputError
from echoscape.files.limits import read_small_text
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.path_rows import PathRows, reports_from_rows
from echoscape.units import length_of

_NAME = re.compile(r"^(.*)\.paths\.t(\d+)_(\d+)\.r(\d+)\.p2m$", re.IGNORECASE)
_COLUMNS = ("power", "delay", "arrival_zenith", "arrival_azimuth", "departure_zenith",
            "departure_azimuth")  # fmt: skip


class WirelessInsite(Layout):
    """Paths of Wireless InSite."""

    name = "wireless-insite"
    files = "a folder of *.paths.t001_01.r002.p2m files with their *.pl.* files, or one of them"

    def recognises(self, source: Path) -> bool:
        """Look for names that only Wireless InSite gives."""
        if source.is_dir():
            return any(_NAME.match(each.name) for each in source.rglob("*.p2m"))
        return bool(_NAME.match(source.name))

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read every pair of a transmitter and a set of receivers."""
        files = sorted(source.rglob("*.p2m")) if source.is_dir() else [source]
        files = [file for file in files if _NAME.match(file.name)]
        if not files:
            raise InputError(f"{source} holds no *.paths.tNNN_NN.rNNN.p2m file")
        sent, told = _transmitted(files[0], options)
        links = [_Link(file) for file in files]
        known = {link.station: link.origin for link in links if link.origin is not None}
        lost = sorted({link.station for link in links} - set(known))
        links = [link for link in links if link.station in known]
        if not links:
            raise InputError(f"{source} holds no path at all, so that no station's place is known")
        names = list(dict.fromkeys(link.station for link in links))
        start, first = {}, 0
        for link in sorted(links, key=lambda each: each.set):
            if link.set not in start:
                start[link.set] = first
                first += 1 + max(link.receivers, default=0)
        rows = _rows(links, names, start, sent, options, known)
        reports = reports_from_rows(rows, options.strongest, options.angle_std, options.length_std)
        notes = [
            Note("angles", "degrees, from +z and from +x"),
            Note("delay", "time of arrival [s]"),
            Note("power", f"received power [dBm]; transmitted: {told}"),
            Note("station", ", ".join(rows.names[:6])),
        ]
        if any(link.reversed for link in links):
            notes.append(Note("arrival", "directions of travel in the file, turned round"))
        if lost:
            notes.append(Note("left out", f"{', '.join(lost)}: no path, so no place is known"))
        return Imported(reports, tuple(notes), self.name)


class _Link:
    """One file: the paths from one transmitter to one set of receivers."""

    def __init__(self, file: Path):
        found = _NAME.match(file.name)
        assert found is not None
        self.file, self.set = file, int(found[4])
        self.station = f"tx-{int(found[2])}" + (f"-{int(found[3])}" if int(found[3]) > 1 else "")
        self.origin: np.ndarray | None = None
        self.reversed = False
        self.owner: list[int] = []
        self.values: list[list[float]] = []
        self.seen: list[np.ndarray] = []
        self.receivers = _places(file)
        self.mute: list[int] = []
        try:
            self._read(_lines(file))
        except (StopIteration, ValueError, IndexError) as error:
            raise InputError(
                f"{file} is cut short or no paths file of Wireless InSite ({error}); write it again"
            ) from None
        self._place_mute()
        self._turn_arrivals()

    def _place_mute(self) -> None:
        """Find where receivers without paths stand that no ``.pl.`` file places."""
        if not self.mute:
            return
        points = _points_of_project(self.file, self.receivers, self.mute)
        if points is None:
            raise InputError(
                f"{self.file}: receiver {self.mute[0]} has no path, and where it stands is in no "
                f"{self.file.name.replace('.paths.', '.pl.')} beside it and in no points of a "
                ".txrx file that agree with the other receivers; add that file"
            )
        for receiver in self.mute:
            self.receivers[receiver] = points[receiver - 1]

    def _read(self, lines: Iterator[str]) -> None:
        count = int(next(lines))
        for _ in range(count):
            receiver, paths = (int(word) for word in next(lines).split()[:2])
            place = self.receivers.get(receiver)
            if paths == 0:
                if place is None:
                    self.mute.append(receiver)
                continue
            next(lines)  # power, delay and spread of all paths together
            for _ in range(paths):
                words = next(lines).split()
                if len(words) not in (8, 9):
                    raise InputError(
                        f"{self.file}: a path of receiver {receiver} has {len(words)} numbers; 8 "
                        "without the phase or 9 with it were needed"
                    )
                numbers = [float(word) for word in words[2:]]
                if len(words) == 9:
                    del numbers[1]  # phase
                letters = next(lines).strip()
                points = 2 + len(letters.split("-")) - 2
                if not letters.lower().startswith("tx"):
                    raise ValueError(f"{letters[:20]!r} where the interactions were expected")
                trail = np.array([
                    [float(word) for word in next(lines).split()[:3]] for _ in range(points)
                ])  # fmt: skip
                self.owner.append(receiver)
                self.values.append(numbers)
                self.seen.append(trail[-2] - trail[-1])
                self.origin = trail[0] if self.origin is None else self.origin
                self.receivers.setdefault(receiver, trail[-1])

    def _turn_arrivals(self) -> None:
        """Let arrivals look back along the path, as the points of the path say."""
        if not self.values:
            return
        values = np.array(self.values)
        zenith, azimuth = np.radians(values[:, 2]), np.radians(values[:, 3])
        flat = np.sin(zenith)
        look = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.cos(zenith)], axis=1)
        self.reversed = bool(np.median((look * np.array(self.seen)).sum(axis=1)) < 0)
        if self.reversed:
            values[:, 2], values[:, 3] = 180 - values[:, 2], values[:, 3] + 180
        self.values = values.tolist()


def _lines(file: Path) -> Iterator[str]:
    with open(file, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.strip() and not line.lstrip().startswith("#"):
                yield line


def _places(file: Path) -> dict[int, np.ndarray]:
    """Read where all receivers stand, those without paths too."""
    beside = file.with_name(re.sub(r"\.paths\.", ".pl.", file.name, flags=re.IGNORECASE))
    if not beside.exists():
        return {}
    found = {}
    for line in _lines(beside):
        try:
            words = line.split()
            x, y, z = (float(word) for word in words[1:4])
            found[int(words[0])] = np.array([x, y, z])
        except (ValueError, IndexError):
            raise InputError(
                f"{beside} needs lines of a number and x, y, z [m]; got {line.strip()[:40]!r}"
            ) from None
    return found


def _points_of_project(
    file: Path, known: dict[int, np.ndarray], mute: list[int]
) -> np.ndarray | None:
    """Read the one set of points of a ``.txrx`` file whose places the known receivers confirm."""
    found = []
    for beside in _projects(file):
        text = read_small_text(beside, "a file of an InSite project")
        for block in re.findall(r"(?ms)^\s*begin_<points>.*?^\s*end_<points>", text):
            rows = re.findall(r"(?m)^\s*nVertices\s+1\s*\n\s*(\S+)\s+(\S+)\s+(\S+)\s*$", block)
            try:
                points = np.array(rows, float).reshape(-1, 3)
            except ValueError:
                continue
            if len(points) < max([*known, *mute]) or not known:
                continue
            off = [np.abs(points[number - 1] - place).max() for number, place in known.items()]
            if max(off) < 0.02:
                found.append(points)
    return found[0] if len(found) == 1 else None


def _projects(file: Path) -> list[Path]:
    return [each for f in (file.parent, file.parent.parent) for each in sorted(f.glob("*.txrx"))]


def _transmitted(file: Path, options: ImportOptions) -> tuple[float, str]:
    """Find what was sent: stated, or in the ``.txrx`` file of the project."""
    if options.transmit_power is not None:
        return options.transmit_power, f"{options.transmit_power:g} dBm stated"
    for beside in _projects(file):
        text = read_small_text(beside, "a file of an InSite project")
        powers = {float(p[1]) for p in re.finditer(r"(?mi)^\s*power\s+([-+\d.eE]+)\s*$", text)}
        if len(powers) == 1:
            power = powers.pop()
            return power, f"{power:g} dBm by {beside.name}"
    raise InputError(
        f"{file} has received powers, and a gain is needed: give what was transmitted by "
        "--transmit-power DBM (0 unless changed in Wireless InSite)"
    )


def _rows(links, names, start, sent, options, known) -> PathRows:
    report, station, position, values = [], [], [], []
    for link in links:
        empty = sorted(set(link.receivers) - set(link.owner))
        owners = [*link.owner, *empty]
        report += [start[link.set] + receiver for receiver in owners]
        station += [names.index(link.station)] * len(owners)
        position += [link.receivers[receiver] for receiver in owners]
        values += [*link.values, *([[np.nan] * len(_COLUMNS)] * len(empty))]
    columns = dict(zip(_COLUMNS, np.array(values, np.float64).T))
    return PathRows(
        report=np.array(report),
        station=np.array(station),
        names=options.names(names),
        station_position=np.stack([known[name] for name in names]),
        position=np.stack(position),
        time=np.zeros(len(report)),
        **{name: np.radians(columns[name]) for name in _COLUMNS[2:]},
        length=length_of(columns["delay"]),
        power=10 ** ((columns["power"] - sent) / 10),
    )
