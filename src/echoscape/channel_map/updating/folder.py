"""Updates of the maps of several stations, with what their folder keeps beside them.

Takes maps, `Reports`, and the manifest of the maps' folder.
Gives maps, `MapChanges`, and the next folder.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from echoscape.channel_map.fitting import stations_reported
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.storage import Manifest, data_hash, save_maps
from echoscape.channel_map.updating.changes import MapChanges
from echoscape.channel_map.updating.update import update_map
from echoscape.reports import Reports
from echoscape.reports.station_bias import StationBias, remove_station_bias


def update_maps(
    maps: Mapping[str, ChannelMap],
    reports: Reports,
    calibration: Mapping[str, Mapping[str, Any]],
    *,
    false_alarm: float = 0.01,
    per_reports: int = 1500,
) -> tuple[dict[str, ChannelMap], dict[str, MapChanges]]:
    """Add a batch to the map of each station that it is of.

    Args:
        maps: Maps by station.
        reports: Later reports of some of these stations, as measured.
        calibration: As in the manifest: what is taken off each station's reports first.
        false_alarm: As of `update_map`.
        per_reports: As of `update_map`.
    """
    bias = {name: StationBias.from_stated(each) for name, each in calibration.items()}
    reports = remove_station_bias(reports, bias) if bias else reports
    grown: dict[str, ChannelMap] = dict(maps)
    changes = {}
    for name in stations_reported(reports):
        grown[name], changes[name] = update_map(
            maps[name], reports, false_alarm=false_alarm, per_reports=per_reports
        )
    return grown, changes


def save_updated(
    maps: Mapping[str, ChannelMap], folder: str | os.PathLike, before: Manifest, reports: Reports
) -> pathlib.Path:
    """Write updated maps with the settings and calibrations of before; scores no longer hold.

    Args:
        maps: The updated maps.
        folder: Where.
        before: Manifest of the maps that were updated.
        reports: What was added.
    """
    lineage = f"{before.data_sha256} {data_hash(reports)}"
    return save_maps(
        maps, folder, settings=before.settings, seed=before.seed, calibration=before.calibration,
        data_sha256=hashlib.sha256(lineage.encode()).hexdigest(),
    )  # fmt: skip
