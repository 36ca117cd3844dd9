"""Reports as Sionna's arrays: what `Paths.cir` returns, with the angles and places beside it.

``a`` and ``tau`` are laid out as ``cir(normalize_delays=False)`` of Sionna RT 2.2 gives them, one
antenna at both ends and one time step, so that they go into Sionna's functions as they are:
``a`` holds the carrier's phase, which is all that a report knows of a path's phase.  The other
arrays have the names of the attributes of `Paths`.

Takes `Reports` and the carrier.
Gives an ``.npz`` archive without pickles.
"""

from pathlib import Path

import numpy as np

from echoscape.files import write_npz
from echoscape.reports.exporting.grid import link_grid
from echoscape.reports.report import Reports


def sionna_arrays(reports: Reports, carrier: float) -> dict[str, np.ndarray]:
    """Lay reports out as Sionna's arrays.

    Args:
        reports: One report of each user at each station, directions at both ends measured.
        carrier: Carrier frequency [Hz].

    Returns:
        Coefficients `a` of shape (rx, 1, tx, 1, path, 1); `tau` [s], -1 where there is no path,
        `theta_t`, `phi_t`, `theta_r`, `phi_r` [rad] and `valid` of shape (rx, tx, path); places
        `sources` and `targets` of shape (3, points) [m].

    Raises:
        InputError: A user has no report at a station, or a direction was not measured.
    """
    links = link_grid(reports, "Sionna's layout")
    cycles = carrier * links.delay
    phase = np.exp(-2j * np.pi * (cycles - np.round(cycles)))
    amplitude = np.where(links.valid, np.sqrt(links.power) * phase, 0.0)
    return {
        "a": amplitude[:, None, :, None, :, None],
        "tau": np.where(links.valid, links.delay, -1.0),
        "theta_t": links.departure_zenith,
        "phi_t": links.departure_azimuth,
        "theta_r": links.arrival_zenith,
        "phi_r": links.arrival_azimuth,
        "valid": links.valid,
        "sources": links.station_position.T,
        "targets": links.position.T,
        "frequency": np.array(carrier),
    }


def write_sionna(reports: Reports, path: str | Path, carrier: float) -> tuple[str, ...]:
    """Write `sionna_arrays` as an ``.npz`` archive.

    Args:
        reports: One report of each user at each station, directions at both ends measured.
        path: The file to write, ending in ``.npz``.
        carrier: Carrier frequency [Hz].

    Returns:
        What the layout cannot hold.
    """
    write_npz(path, sionna_arrays(reports, carrier), "sionna 1")
    return (
        "standard deviations and times",
        "numbers of reports: receivers are counted from 0 in their order",
        f"names of stations: transmitters are {', '.join(reports.station[:6])} in this order",
    )
