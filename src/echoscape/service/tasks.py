"""What a worker computes: fixes from echoes and a map, and a map from reports.

Takes a store's address and a request of plain values and bytes.
Gives plain values.
"""

import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError
from echoscape.store import (
    Store,
    add_fixes,
    add_map,
    find_echoes,
    find_reports,
    list_maps,
    take_map,
)


def locate(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Locate the targets of a table of echoes.

    Args:
        url: Of the store.
        request: `echoes`, an Arrow stream with the columns of echoes, or `source`, `station`,
            `since` and `until` [s] of echoes that the store holds; `map`, its name; `version` of
            it, the newest if None; `height` [m] or None; `time` [s], when the echoes were measured.

    Returns:
        Columns of fixes, and the version of the map.
    """
    from echoscape.localization.fix import fix_columns
    from echoscape.localization.localize import localize
    from echoscape.reports.table import echoes_from_table

    store = _store(url)
    version = _version(store, request["map"], request.get("version"))
    if "echoes" in request:
        with pa.ipc.open_stream(request["echoes"]) as stream:
            echoes = echoes_from_table(stream.read_all(), source="echoes")
    else:
        echoes = find_echoes(
            store, source=request.get("source"), station=request.get("station"),
            time=_span(request),
        )  # fmt: skip
    place = (url, version.name, version.version)
    fix = localize(echoes, _prepared(*place, request.get("height"), _Layout(echoes)))
    columns = fix_columns(fix, echoes.station, "unassociated")
    add_fixes(store, columns, "service", float(request["time"]), version.number)
    plain = {name: np.asarray(values).tolist() for name, values in columns.items()}
    return {"fixes": plain, "map": version.name, "version": version.version}


def fit(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Learn a map from the reports of a store, and keep it as the next version of its name.

    Args:
        url: Of the store.
        request: `map`, its name; `model`, its kind; `station`, `source`, `since` and `until` [s],
            which reports; all of them where not given.
    """
    import jax

    from echoscape.channel_map import fit_maps, save_maps
    from echoscape.channel_map.fitting import model_named, model_settings

    store = _store(url)
    reports = find_reports(
        store, station=request.get("station"), source=request.get("source"), time=_span(request)
    )
    model = model_named(request.get("model") or "virtual-anchors")
    maps = fit_maps(reports, model, key=jax.random.key(0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "map"
        save_maps(maps, out, settings=model_settings(model), seed=0)
        kept = add_map(
            store, out, request["map"], report_count=len(reports),
            last_report=int(reports.report.max()),
        )  # fmt: skip
    return {"map": kept.name, "version": kept.version, "reports": len(reports)}


def forecast(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Say what the newest version of a map predicts at a place.

    Args:
        url: Of the store.
        request: `map`, its name; `position` [m]; `position_std` [m]; `array`, the fields of a
            `scene.PlanarArray` that every station has, or None.
    """
    from echoscape.communication.at_place import forecast_at
    from echoscape.scene import PlanarArray

    version = _version(_store(url), request["map"])
    maps = _maps(url, version.name, version.version)
    arrays = None
    if request["array"] is not None:
        array = PlanarArray(**request["array"])
        arrays = {name: array for name in maps}
    place = np.asarray(request["position"], float)
    said = forecast_at(maps, place, position_std=request["position_std"], arrays=arrays)
    return {"map": version.name, "version": version.version, **dataclasses.asdict(said)}


def update(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Add the reports since a map's newest version to it, and keep it as the next version.

    Reports that come late, of times before the last that the map has seen, are left to the next
    full fit.

    Args:
        url: Of the store.
        request: `map`, its name; `station` and `source`, which reports, as when it was fitted;
            `false_alarm` and `per_reports` as of `update_map`; `refit_every`, after how many
            updates all reports are fitted again instead, as the reference: never if not given.
    """
    from echoscape.channel_map import load_manifest, load_maps
    from echoscape.channel_map.updating.folder import save_updated, update_maps

    store = _store(url)
    versions = {v.version: v for v in list_maps(store) if v.name == request["map"]}
    if not versions:
        raise InputError(f"the store has no map {request['map']!r} to update; fit it first")
    newest = versions[max(versions)]
    updates, parent = 0, newest.parent
    while parent is not None:
        updates, parent = updates + 1, versions[parent].parent
    chosen = {"station": request.get("station"), "source": request.get("source")}
    if updates >= (request.get("refit_every") or np.inf):
        settings = json.loads(newest.manifest)["settings"]
        return fit(url, {"map": newest.name, "model": settings.get("model"), **chosen})
    try:
        reports = find_reports(store, after=newest.last_report, **chosen)
    except InputError as error:
        raise InputError(
            f"no report is newer than version {newest.version} of map {newest.name!r}"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old", Path(folder) / "new"
        take_map(store, newest.name, old, newest.version)
        maps, manifest = load_maps(old), load_manifest(old)
        timely = np.zeros(len(reports), bool)
        for name, each in maps.items():
            state = getattr(each, "state", None)
            since = -np.inf if state is None or not len(state.time) else state.time.max()
            if name in reports.station:
                of_station = reports.station_index == reports.station.index(name)
                timely |= of_station & (reports.time >= since)
        if not timely.any():
            raise InputError(
                f"all {len(reports)} reports since version {newest.version} of map "
                f"{newest.name!r} are of other stations or of times before its last; fit it again"
            )
        grown, changes = update_maps(
            maps, reports[timely], manifest.calibration,
            false_alarm=request.get("false_alarm") or 0.01,
            per_reports=request.get("per_reports") or 1500,
        )  # fmt: skip
        save_updated(grown, new, manifest, reports[timely])
        kept = add_map(
            store, new, newest.name, parent=newest.version,
            report_count=newest.report_count + int(timely.sum()),
            last_report=int(reports.report.max()),
        )  # fmt: skip
    return {
        "map": kept.name, "version": kept.version, "reports": int(timely.sum()),
        "late": int((~timely).sum()),
        "vanished": sum(each.count("vanished") for each in changes.values()),
        "appeared": sum(each.count("appeared") for each in changes.values()),
    }  # fmt: skip


def warm(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Compile what locating one target needs, so that the first who asks does not wait for it.

    Args:
        url: Of the store.
        request: `map`, its name; the newest version is taken.
    """
    from echoscape.localization.localize import localize

    newest = _version(_store(url), request["map"])
    station = next(iter(_maps(url, newest.name, newest.version)))
    for count in _USUAL:
        echoes = _made_up(count, station)
        layout = _Layout(echoes)
        localize(echoes, _prepared(url, newest.name, newest.version, None, layout))
    return {"map": newest.name, "version": newest.version}


def _made_up(count: int, station: str) -> Any:
    """Make up echoes of one target."""
    from echoscape.reports.echo import Echoes

    turn = np.linspace(-3.0, 3.0, count)[None]
    return Echoes.from_arrays(
        departure_azimuth=turn, arrival_azimuth=turn[:, ::-1], departure_zenith=1.5 + 0.02 * turn,
        arrival_zenith=1.6 - 0.01 * turn, length=np.linspace(150.0, 400.0, count)[None],
        length_std=0.5, power=np.full((1, count), 1e-13), departure_azimuth_std=0.02,
        arrival_azimuth_std=0.02, departure_zenith_std=0.02, arrival_zenith_std=0.02,
        station=station,
    )  # fmt: skip


def scene(url: str, request: dict[str, Any]) -> str:
    """Lay out what the store holds for the page, as JSON.

    Args:
        url: Of the store.
        request: `title`.
    """
    from echoscape.viewer import make_scene, to_json

    results, place, versions = _shown(url)
    made = make_scene(results, request["title"], place, live=True)
    known = [f"{v.name} {v.version}" for v in versions]
    return to_json(made)[:-1] + f',"maps":{json.dumps(known)}}}'


def place(url: str, request: dict[str, Any]) -> str:
    """Say what the newest maps predict at a place, with the corners of the paths, as JSON.

    Args:
        url: Of the store.
        request: `position` [m].
    """
    from echoscape.viewer import to_json

    return to_json(_shown(url)[1](np.asarray(request["position"], float)))


def _shown(url: str) -> Any:
    """Collect what the page shows; the mesh's tree is built again where maps or files change."""
    from echoscape.viewer.stored import newest_versions, stored_results

    store = _store(url)
    versions = newest_versions(store)
    maps: dict[str, Any] = {}
    for version in versions:
        maps |= _maps(url, version.name, version.version)
    results = stored_results(store, maps)
    key = (url, *((v.name, v.version) for v in versions), results.mesh is None)
    if _last_place.get("key") != key:
        from echoscape.viewer import Place

        _last_place.update(key=key, place=Place(results))
    return results, _last_place["place"], versions


_last_place: dict[str, Any] = {}
_USUAL = (8, 24)  # echoes of a target: one number for each of the two shortest programs
TASKS = {
    "locate": locate, "fit": fit, "update": update, "forecast": forecast, "warm": warm,
    "scene": scene, "place": place,
}  # fmt: skip
"""What a worker can be asked for, by name."""


@functools.lru_cache(maxsize=4)
def _store(url: str) -> Store:
    return Store.open(url)


def _version(store: Store, name: str, version: int | None = None) -> Any:
    every = list_maps(store)
    versions = [v for v in every if v.name == name]
    if not versions:
        known = ", ".join(sorted({v.name for v in every})) or "none"
        raise InputError(f"the store has no map {name!r}; it has {known}")
    return next((v for v in versions if v.version == version), versions[-1])


def _span(request: dict[str, Any]) -> tuple[float, float]:
    """Read from when to when the rows of a request are; without ends, all of them [s]."""
    since, until = request.get("since"), request.get("until")
    return (-np.inf if since is None else since, np.inf if until is None else until)


class _Layout:
    """Echoes as a key: which stations sent and received them is what a prepared grid depends on."""

    def __init__(self, echoes: Any):
        self.echoes = echoes
        self.ways = tuple(echoes.ways())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layout) and self.ways == other.ways

    def __hash__(self) -> int:
        return hash(self.ways)


@functools.lru_cache(maxsize=8)
def _prepared(url: str, name: str, version: int, height: Any, layout: _Layout) -> Any:
    from echoscape.localization.localize import prepare

    return prepare(_maps(url, name, version), layout.echoes, height=height)


@functools.lru_cache(maxsize=4)
def _maps(url: str, name: str, version: int) -> Any:
    from echoscape.channel_map import load_maps

    with tempfile.TemporaryDirectory() as folder:
        take_map(_store(url), name, Path(folder) / "map", version)
        return load_maps(Path(folder) / "map")
