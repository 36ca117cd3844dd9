"""Echoes of located targets as lines through the walls.

For drawing, an echo goes out along the predicted path and back along the one that lie closest to
what was measured, in deviations; one that no pair comes close to has no line.

Takes echoes, fixes, and what the maps predict at a place.
Gives `EchoLine`s.
"""

from collections.abc import Callable, Collection

import numpy as np
from jaxtyping import Float

from echoscape.reports import Echoes
from echoscape.units import delay_of, wrap_angle
from echoscape.viewer.scene import EchoLine, FixMark, PlaceMark, flat

_CLOSE = 5.0  # deviations in every measured quantity, those of the map included


def echo_lines(
    echoes: Echoes,
    fixes: tuple[FixMark, ...],
    stations: Collection[str],
    place: Callable[[Float[np.ndarray, "3"]], PlaceMark],
) -> tuple[EchoLine, ...]:
    """Draw the echoes of every target that has a fix and whose stations have maps.

    Args:
        echoes: What was measured.
        fixes: Where targets are; the best place of each counts.
        stations: Stations that have maps.
        place: Says what the maps predict at a place.
    """
    where = {fix.target: np.array(fix.position) for fix in fixes if fix.rank == 0}
    predicted: dict[int, PlaceMark] = {}
    found: list[EchoLine] = []
    for k, target in enumerate(np.asarray(echoes.target).tolist()):
        ends = [echoes.station[int(each[k])] for each in (echoes.sender, echoes.station_index)]
        if target not in where or not set(ends) <= set(stations):
            continue
        if target not in predicted:
            predicted[target] = place(where[target])
        legs = [_leg(predicted[target], station) for station in ends]
        for i in np.flatnonzero(np.asarray(echoes.estimates.valid)[k]):
            found.append(_line(echoes, k, int(i), ends[1], legs))
    return tuple(found)


def _leg(mark: PlaceMark, station: str) -> dict:
    """List the paths of one station as columns, with their corners."""
    use = [k for k, path in enumerate(mark.forecast.paths) if path.station == station]
    paths = [mark.forecast.paths[k] for k in use]
    names = ("departure_azimuth", "departure_zenith", "delay")
    columns = {
        name: np.array([getattr(path, name) for path in paths])
        for each in names
        for name in (each, f"{each}_std")
    }
    lines = [np.array(mark.lines[k]).reshape(-1, 3) for k in use]
    return {**columns, "line": lines, "exact": [mark.exact[k] for k in use]}


def _line(echoes: Echoes, k: int, i: int, station: str, legs: list[dict]) -> EchoLine:
    """Draw one echo."""
    measured = {
        name: float(np.asarray(getattr(echoes.estimates, name))[k, i])
        for end in ("departure", "arrival")
        for angle in ("azimuth", "zenith")
        for name in (f"{end}_{angle}", f"{end}_{angle}_std")
    }
    length, std, power = (
        float(np.asarray(each)[k, i])
        for each in (echoes.estimates.length, echoes.estimates.length_std, echoes.estimates.power)
    )
    out, back = (
        _deviations(measured, end, leg) for end, leg in zip(("departure", "arrival"), legs)
    )
    total = legs[0]["delay"][:, None] + legs[1]["delay"][None] - delay_of(length)
    variance = legs[0]["delay_std"][:, None] ** 2 + legs[1]["delay_std"][None] ** 2
    late = total**2 / (variance + delay_of(std) ** 2)
    worst = np.maximum(np.maximum(out[:, None], back[None]), late)
    line, exact = np.zeros((0, 3)), False
    if worst.size and worst.min() <= _CLOSE**2:
        go, come = np.unravel_index(np.argmin(worst), worst.shape)
        line = np.concatenate([legs[0]["line"][go], legs[1]["line"][come][::-1][1:]])
        exact = legs[0]["exact"][go] and legs[1]["exact"][come]
    azimuth, zenith = measured["departure_azimuth"], measured["departure_zenith"]
    ahead = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)]
    return EchoLine(
        int(echoes.target[k]), station, flat(line, 2), bool(exact), float(delay_of(length)), power,
        flat(ahead, 4),
    )  # fmt: skip


def _deviations(measured: dict[str, float], end: str, leg: dict) -> np.ndarray:
    """Square the larger of the two angles' errors, in deviations, for every path of a leg."""
    azimuth = np.sin(leg["departure_zenith"]) * wrap_angle(
        leg["departure_azimuth"] - measured[f"{end}_azimuth"]
    )
    zenith = leg["departure_zenith"] - measured[f"{end}_zenith"]
    square = [
        error**2 / (leg[f"departure_{name}_std"] ** 2 + measured[f"{end}_{name}_std"] ** 2)
        for name, error in (("azimuth", azimuth), ("zenith", zenith))
    ]
    return np.maximum(*square)
