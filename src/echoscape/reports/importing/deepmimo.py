"""DeepMIMO scenarios: version 4 with a file a quantity, versions 2 and 3 with one a station.

In version 4 each array is ``KEY_tSET_txINDEX_rSET`` (``.npz``, ``.mat`` or ``.npy``) of shape
(user, path), padded with NaN; angles are in degrees, what it calls elevation counts from +z, and
powers are in dBW for 0 dBW sent, so that they are gains.  Versions 2 and 3 hold a struct a user,
powers in dBm for the power that ``params.mat`` states.

Takes a folder.
Gives `Imported`.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.files.limits import read_small_text
from echoscape.files.matlab import load_matlab
from echoscape.files.npz import open_npz
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.path_rows import PathRows, reports_from_rows
from echoscape.units import length_of

_NAME = re.compile(r"^delay_t(\d+)_tx(\d+)_r(\d+)\.(npz|mat|npy)$")
_OLD = re.compile(r"^BS(\d+)_(UE|BS).*\.mat$")
_KEYS = ("aod_az", "aod_el", "aoa_az", "aoa_el", "delay", "power")
_NOTES = (
    Note("angles", "degrees; elevation counts from +z (polar)"),
    Note("delay", "seconds"),
    Note("power", "a gain [dB]: received power over what was sent"),
)


class DeepMimo(Layout):
    """A DeepMIMO scenario."""

    name = "deepmimo"
    files = "a folder with delay_t001_tx000_r000.npz and the like, or BS1_UE_*.mat"

    def recognises(self, source: Path) -> bool:
        """Look for a file that only DeepMIMO writes."""
        return source.is_dir() and any(
            _NAME.match(each.name) or _OLD.match(each.name) for each in source.iterdir()
        )

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read every pair of a transmitter and a set of receivers."""
        if not source.is_dir():
            raise InputError(
                f"{source} is no folder; a DeepMIMO scenario is one (unpack it if it is a .zip)"
            )
        names = sorted(each.name for each in source.iterdir())
        if any(_NAME.match(name) for name in names):
            links = _version_4(source, names)
        elif any(_OLD.match(name) for name in names):
            links = _version_3(source, names, options)
        else:
            raise InputError(
                f"{source} holds no delay_t*_tx*_r*.npz and no BS*_UE_*.mat; name the folder of "
                "one scenario (of a dynamic one, the folder of one scene)"
            )
        if not links:
            raise InputError(f"{source} holds no receivers that are no transmitters")
        rows = _rows(links, options)
        reports = reports_from_rows(rows, options.strongest, options.angle_std, options.length_std)
        station = Note("station", ", ".join(rows.names[:6]))
        return Imported(reports, (*_NOTES, station), self.name)


Link = dict[str, Any]


def _version_4(folder: Path, names: list[str]) -> list[Link]:
    also_transmit = _transmitters(folder)
    links = []
    for name in names:
        found = _NAME.match(name)
        if not found or int(found[3]) in also_transmit:
            continue
        code = f"t{found[1]}_tx{found[2]}_r{found[3]}"
        arrays = {key: _array(folder, key, code) for key in (*_KEYS, "rx_pos", "tx_pos")}
        place = _places(arrays["tx_pos"], f"{folder}: tx_pos_{code}")
        at = int(found[2]) if len(place) > 1 else 0
        if at >= len(place):
            raise InputError(f"{folder}: tx_pos_{code} has {len(place)} places, not one for {code}")
        links.append({
            **{key: _numbers(arrays[key], f"{folder}: {key}_{code}") for key in _KEYS},
            "rx_pos": _places(arrays["rx_pos"], f"{folder}: rx_pos_{code}"),
            "tx_pos": place[at], "set": int(found[3]), "station": f"tx-{int(found[1])}-{at}"
            if len({_NAME.match(n)[1] for n in names if _NAME.match(n)}) > 1  # type: ignore[index]
            else f"tx-{int(found[2])}",
        })  # fmt: skip
    return links


def _numbers(values: Any, what: str) -> np.ndarray:
    """Take an array of real numbers, one row a receiver, or refuse it."""
    found = np.atleast_2d(np.asarray(values))
    if found.dtype.kind not in "fiub" or found.ndim != 2:
        raise InputError(
            f"{what} must be real numbers, one row a receiver; got shape {np.shape(values)} of "
            f"{found.dtype}; write it again"
        )
    return found.astype(np.float64)


def _places(values: Any, what: str) -> np.ndarray:
    """Take places, one row each, or refuse them."""
    found = _numbers(values, what)
    if not found.size or found.size % 3:
        raise InputError(f"{what} must be x, y, z [m] of each; got shape {np.shape(values)}")
    return found.reshape(-1, 3)


def _transmitters(folder: Path) -> set[int]:
    """List the sets that transmit too, as base stations to each other."""
    file = folder / "params.json"
    if not file.exists():
        return set()
    try:
        stated = json.loads(read_small_text(file, "the parameters of a scenario"))
        sets = stated.get("txrx_sets", {})
        both = {int(s["id"]) for s in sets.values() if isinstance(s, dict) and s.get("is_tx")}
        only = {int(s["id"]) for s in sets.values() if isinstance(s, dict) and not s.get("is_tx")}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{file} is no DeepMIMO parameter file ({error}); write it again"
        ) from None
    return both if only else set()


def _array(folder: Path, key: str, code: str) -> np.ndarray:
    for suffix in ("npz", "mat", "npy"):
        file = folder / f"{key}_{code}.{suffix}"
        if not file.exists():
            continue
        if suffix == "npz":
            with open_npz(file, "an array of a DeepMIMO scenario") as stored:
                return stored[key if key in stored else next(iter(stored), key)]
        if suffix == "mat":
            content = load_matlab(file, "an array of a DeepMIMO scenario")
            if key not in content:
                raise InputError(f"{file} has no array {key!r}; write it again")
            return content[key]
        try:
            return np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{file} cannot be read ({error}); write it again") from None
    raise InputError(f"{folder} lacks {key}_{code}.npz (or .mat, .npy), which a scenario has")


def _version_3(folder: Path, names: list[str], options: ImportOptions) -> list[Link]:
    sent = options.transmit_power
    params = folder / "params.mat"
    if params.exists():
        found = _plain_mat(params)
        sent = found.get("transmit_power", found.get("transmit_power_raytracing", sent))
    if sent is None:
        raise InputError(
            f"{folder} lacks params.mat, which says what was transmitted; give --transmit-power DBM"
        )
    links = []
    for name in names:
        match = _OLD.match(name)
        if not match or match[2] == "BS":
            continue
        content = _plain_mat(folder / name)
        cells = next((v for k, v in content.items() if k.startswith("channels")), None)
        if cells is None or "rx_locs" not in content or "tx_loc" not in content:
            raise InputError(f"{folder / name} needs channels, rx_locs and tx_loc; write it again")
        cells = [cells] if isinstance(cells, dict) else list(np.ravel(np.asarray(cells, object)))
        links.append({
            **_ragged(cells, float(np.ravel(sent)[0])),
            "rx_pos": _places(_numbers(content["rx_locs"], f"{folder / name}: rx_locs")[:, :3],
                              f"{folder / name}: rx_locs"),
            "tx_pos": _places(_numbers(content["tx_loc"], f"{folder / name}: tx_loc").ravel()[:3],
                              f"{folder / name}: tx_loc")[0],
            "set": int((re.findall(r"_(\d+)-", name) or ["0"])[0]), "station": f"bs-{match[1]}",
        })  # fmt: skip
    return links


def _plain_mat(file: Path) -> dict[str, Any]:
    from echoscape.reports.importing.structs import load_structs

    return load_structs(file)


def _ragged(cells: list[Any], sent: float) -> dict[str, np.ndarray]:
    fields = {
        "aod_az": ("DoD_phi", "AoD_phi"), "aod_el": ("DoD_theta", "AoD_theta"),
        "aoa_az": ("DoA_phi", "AoA_phi"), "aoa_el": ("DoA_theta", "AoA_theta"),
        "delay": ("ToA",), "power": ("power",),
    }  # fmt: skip
    lists: dict[str, list[np.ndarray]] = {key: [] for key in fields}
    for cell in cells:
        cell = cell if isinstance(cell, dict) else {}
        for key, names in fields.items():
            value = next((cell[name] for name in names if name in cell), np.zeros(0))
            lists[key].append(_numbers(value, f"the path list {names[0]}").ravel())
    width = max([1, *(len(each) for each in lists["delay"])])
    found = {}
    for key, rows in lists.items():
        found[key] = np.full((len(rows), width), np.nan)
        for k, row in enumerate(rows):
            if len(row) > width:
                raise InputError(
                    f"channel {k} has {len(row)} of {fields[key][0]} for {len(lists['delay'][k])} "
                    "delays; write it again"
                )
            found[key][k, : len(row)] = row
    found["power"] = found["power"] - sent
    return found


def _rows(links: list[Link], options: ImportOptions) -> PathRows:
    """Lay the arrays of all links out, one row a path; receivers are numbered set after set."""
    names = list(dict.fromkeys(link["station"] for link in links))
    places = {link["station"]: link["tx_pos"] for link in links}
    first, start = {}, 0
    for link in sorted(links, key=lambda each: each["set"]):
        if link["set"] not in first:
            first[link["set"]] = start
            start += len(link["rx_pos"])
    parts: dict[str, list[np.ndarray]] = {}
    for link in links:
        users, width = link["delay"].shape
        for key in _KEYS:
            if link[key].shape != (users, width) or len(link["rx_pos"]) != users:
                raise InputError(
                    f"the arrays of {link['station']} need one shape of users and paths; "
                    f"{key} has {link[key].shape}, delay {link['delay'].shape}, for "
                    f"{len(link['rx_pos'])} receivers"
                )
        there = np.isfinite(link["delay"])
        keep = there.copy()
        keep[:, 0] |= ~there.any(axis=1)
        user = np.nonzero(keep)[0]

        def take(key: str, link=link, keep=keep, there=there) -> np.ndarray:
            return np.where(there, link[key], np.nan)[keep]

        values = {
            "report": first[link["set"]] + user,
            "station": np.full(len(user), names.index(link["station"])),
            "position": link["rx_pos"][user],
            "departure_azimuth": np.radians(take("aod_az")),
            "departure_zenith": np.radians(take("aod_el")),
            "arrival_azimuth": np.radians(take("aoa_az")),
            "arrival_zenith": np.radians(take("aoa_el")),
            "length": length_of(take("delay")),
            "power": 10 ** (take("power") / 10),
        }
        for key, value in values.items():
            parts.setdefault(key, []).append(value)
    joined = {key: np.concatenate(value) for key, value in parts.items()}
    return PathRows(
        **joined,
        names=options.names(names),
        station_position=np.stack([places[name] for name in names]),
        time=np.zeros(len(joined["length"])),
    )
