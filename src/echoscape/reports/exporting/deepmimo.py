"""Reports as a DeepMIMO scenario of version 4: a folder with one file a quantity.

The layout is that of `deepmimo`'s own loader, read in version 4.0.5: ``params.json`` lists the
sets of transmitters and receivers, the scene and the materials, and ``KEY_tSET_txINDEX_rSET.npz``
holds each array of shape (user, path), padded with NaN.  Angles are in degrees, its "elevation"
counts from +z, powers are gains in dB.

What a report does not know: the interactions (``inter`` is 0 for a path as long as the straight
line and NaN for any other, ``inter_pos`` is NaN) and the phase, which is that of the carrier over
the path's delay.

Takes `Reports` and the carrier.
Gives a folder that `deepmimo.load` reads.
"""

import json
from pathlib import Path

import numpy as np

from echoscape.files import atomic_folder
from echoscape.reports.exporting.grid import Links, link_grid
from echoscape.reports.report import Reports
from echoscape.units import length_of

_RECEIVERS, _TRANSMITTERS = 0, 1  # numbers of the two sets
_STRAIGHT = 0.01  # a direct path is longer than the straight line by less [m]


def write_deepmimo(reports: Reports, folder: str | Path, carrier: float) -> tuple[str, ...]:
    """Write a scenario that `deepmimo` loads.

    Args:
        reports: One report of each user at each station, directions at both ends measured.
        folder: The folder to write; its name, in lower case, is the scenario's.
        carrier: Carrier frequency [Hz].

    Returns:
        What the layout cannot hold.

    Raises:
        InputError: A user has no report at a station, or a direction was not measured.
    """
    links = link_grid(reports, "a DeepMIMO scenario")
    with atomic_folder(folder, "params.json") as draft:
        for station in range(len(links.station)):
            code = f"t{_TRANSMITTERS:03}_tx{station:03}_r{_RECEIVERS:03}"
            for key, values in _arrays(links, station, carrier).items():
                np.savez_compressed(
                    draft / f"{key}_{code}.npz", allow_pickle=False, **{key: values}
                )
        np.savez_compressed(draft / "vertices.npz", allow_pickle=False, vertices=np.zeros((0, 3)))
        (draft / "objects.json").write_text("[]\n")
        (draft / "params.json").write_text(json.dumps(_parameters(links, carrier), indent=2))
    return (
        "standard deviations and times",
        "numbers of reports: receivers are counted from 0 in their order",
        f"names of stations: transmitters are {', '.join(links.station[:6])} in this order",
    )


def _arrays(links: Links, station: int, carrier: float) -> dict[str, np.ndarray]:
    valid = links.valid[:, station]

    def shown(values: np.ndarray) -> np.ndarray:
        return np.where(valid, values, np.nan)

    delay = links.delay[:, station]
    distance = np.linalg.norm(links.position - links.station_position[station], axis=1)
    direct = np.abs(length_of(delay) - distance[:, None]) < _STRAIGHT
    cycles = carrier * delay
    with np.errstate(divide="ignore"):
        power = 10 * np.log10(links.power[:, station])
    return {
        "aod_az": shown(np.degrees(links.departure_azimuth[:, station])),
        "aod_el": shown(np.degrees(links.departure_zenith[:, station])),
        "aoa_az": shown(np.degrees(links.arrival_azimuth[:, station])),
        "aoa_el": shown(np.degrees(links.arrival_zenith[:, station])),
        "delay": shown(delay),
        "power": shown(np.maximum(power, -400.0)),
        "phase": shown(-360 * (cycles - np.round(cycles))),
        "inter": np.where(valid & direct, 0.0, np.nan),
        "inter_pos": np.full((*valid.shape, 1, 3), np.nan),
        "rx_pos": links.position,
        "tx_pos": links.station_position[station : station + 1],
    }


def _parameters(links: Links, carrier: float) -> dict:
    """Describe the scenario with all keys that the loader asks for."""

    def points(name: str, number: int, transmits: bool, count: int, active: int) -> dict:
        return {
            "name": name, "id_orig": number, "id": number, "is_tx": transmits,
            "is_rx": not transmits, "num_points": count, "num_active_points": active,
            "num_ant": 1, "dual_pol": False, "ant_rel_positions": [[0, 0, 0]],
            "array_orientation": [0, 0, 0], "grid_spacing": None,
        }  # fmt: skip

    heard = int(links.valid.any(axis=(1, 2)).sum())
    stations = len(links.station)
    return {
        "version": "4.0.0",
        "rt_params": {
            "raytracer_name": "echoscape", "raytracer_version": "1", "frequency": carrier,
            "max_path_depth": 0, "max_reflections": 0, "max_diffractions": 0,
            "max_scattering": 0, "max_transmissions": 0,
        },
        "txrx_sets": {
            f"txrx_set_{_RECEIVERS}": points(
                "users", _RECEIVERS, False, len(links.report), heard
            ),
            f"txrx_set_{_TRANSMITTERS}": points(
                "stations", _TRANSMITTERS, True, stations, stations
            ),
        },
        "scene": {
            "num_scenes": 1, "n_objects": 0, "n_vertices": 0, "n_faces": 0,
            "n_triangular_faces": 0,
        },
        "materials": {},
    }  # fmt: skip
