"""Sionna RT's paths as reports: its `Paths` object, an archive of its arrays.

The object is read by its attributes, so that Sionna need not be installed.

Takes `Paths`, or an ``.npz`` file of its arrays.
Gives `Reports`.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.files.npz import open_npz
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.report import Reports
from echoscape.units import wrap_angle


def reports_from_sionna(
    paths: Any, strongest: int = 12, station: Sequence[str] | None = None
) -> Reports:
    """Make reports of a Sionna RT `Paths` object: one for each receiver and transmitter.

    The delays are those of ``paths.tau``.  The delays that ``paths.cir()`` returns start at zero
    unless it was called with ``normalize_delays=False``, and without the absolute delay there is
    nothing to locate.  Of traced arrays (``synthetic_array=False``) the paths of the first
    elements are taken, since those of other elements come in another order; power is averaged
    over synthetic elements and polarisations.

    Args:
        paths: The object, or one with its attributes `a` (real and imaginary part), `tau`,
            `theta_t`, `phi_t`, `theta_r`, `phi_r`, `valid`, `sources`, `targets`, `num_rx`,
            `num_tx`.
        strongest: How many paths of each report to keep.
        station: Names of the transmitters, ``tx-0`` and so on by default.
    """
    receivers, transmitters = int(paths.num_rx), int(paths.num_tx)
    source, target = _points(paths.sources), _points(paths.targets)
    elements = len(target) // receivers, len(source) // transmitters
    real, imaginary = (np.asarray(part, dtype=np.float64) for part in paths.a)
    power = real**2 + imaginary**2  # [rx, polarisation x element, tx, ..., path]
    shape = power.shape
    if np.asarray(paths.tau).ndim == 5:  # traced arrays: polarisations outside, elements inside
        power = power.reshape(
            receivers, -1, elements[0], transmitters, shape[3] // elements[1], elements[1], shape[4]
        )[:, :, 0, :, :, 0]
    power = power.mean(axis=(1, 3)).reshape(receivers * transmitters, shape[4])

    def pairs(name: str) -> np.ndarray:
        values = np.asarray(getattr(paths, name))
        values = values[:, 0, :, 0] if values.ndim == 5 else values
        return values.reshape(receivers * transmitters, -1)

    names = tuple(station or (f"tx-{i}" for i in range(transmitters)))
    if len(names) != transmitters:
        raise InputError(f"{len(names)} names of stations came for {transmitters} transmitters")
    valid = pairs("valid").astype(bool)
    delay = np.where(valid, pairs("tau"), 0.0)
    if valid.shape[1] == 0:  # nothing found anywhere
        valid, delay, power = (np.zeros((len(valid), 1), t) for t in (bool, float, float))

    def angle(name: str) -> np.ndarray:
        values = pairs(name)
        return np.where(valid, values if values.shape[1] else 0.0, 0.0).astype(np.float64)

    station_position = source[:: elements[1]]
    receiver, transmitter = np.divmod(np.arange(receivers * transmitters), transmitters)
    return Reports(
        estimates=_estimates(
            departure=(angle("phi_t"), angle("theta_t")),
            arrival=(angle("phi_r"), angle("theta_r")),
            delay=delay.astype(np.float64),
            power=np.where(valid, power, 0.0),
            valid=valid,
            strongest=strongest,
        ),
        position=target[:: elements[0]][receiver],
        position_std=np.zeros(len(receiver)),
        time=np.zeros(len(receiver)),
        report=receiver,
        station_index=transmitter,
        station_position=station_position,
        station=names,
    )


def _estimates(
    departure: tuple[np.ndarray, np.ndarray],
    arrival: tuple[np.ndarray, np.ndarray],
    delay: np.ndarray,
    power: np.ndarray,
    valid: np.ndarray,
    strongest: int,
) -> PathEstimates:
    """Keep the strongest paths, in falling power, and state no error."""
    if strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {strongest}")
    order = np.argsort(np.where(valid, -power, np.inf), axis=1, kind="stable")[:, :strongest]
    order = order[:, : max(1, int(valid.sum(axis=1).max(initial=0)))]
    valid = np.take_along_axis(valid, order, axis=1)

    def kept(values: np.ndarray) -> np.ndarray:
        return np.where(valid, np.take_along_axis(values, order, axis=1), 0.0)

    exact = np.zeros(valid.shape)
    return PathEstimates.from_delays(
        departure_azimuth=wrap_angle(kept(departure[0])),
        departure_zenith=kept(departure[1]),
        arrival_azimuth=wrap_angle(kept(arrival[0])),
        arrival_zenith=kept(arrival[1]),
        delay=kept(delay),
        power=kept(power),
        departure_azimuth_std=exact,
        departure_zenith_std=exact,
        arrival_azimuth_std=exact,
        arrival_zenith_std=exact,
        delay_std=exact,
        valid=valid,
    )


def _points(points: Any) -> Float[np.ndarray, "point 3"]:
    """Read points that are stored one a row or, as Mitsuba does, one a column."""
    points = np.asarray(points, dtype=np.float64)
    points = points.reshape(3, -1).T if points.shape[0] == 3 else points
    return np.ascontiguousarray(points)


class SavedSionna(Layout):
    """Arrays of a `Paths` object, saved by ``numpy.savez`` under the names of its attributes."""

    name = "sionna"
    files = "a .npz of a (or a_real, a_imag), tau, theta_t, phi_t, theta_r, phi_r, sources, targets"

    def recognises(self, source: Path) -> bool:
        """Look for the names of the attributes."""
        if source.suffix.lower() != ".npz" or not source.is_file():
            return False
        try:
            with zipfile.ZipFile(source) as archive:
                names = {name.removesuffix(".npy") for name in archive.namelist()}
        except (zipfile.BadZipFile, OSError):
            return False
        return {"tau", "theta_t", "phi_t", "sources", "targets"} <= names

    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read the arrays as the object would give them."""
        with open_npz(source, "an .npz of Sionna's Paths") as archive:
            arrays = {name: archive[name] for name in archive}
        for name in ("tau", "theta_t", "phi_t", "theta_r", "phi_r", "sources", "targets"):
            if name not in arrays:
                raise InputError(f"{source} lacks the array {name!r} of Sionna's Paths; add it")
        tau = arrays["tau"]
        if tau.ndim not in (3, 5):
            raise InputError(
                f"{source} needs tau of shape (rx, tx, path), or with antennas (rx, antenna, tx, "
                f"antenna, path); got {tau.shape}"
            )
        if "a" in arrays and np.iscomplexobj(arrays["a"]):
            parts = np.real(arrays["a"]), np.imag(arrays["a"])
        elif "a_real" in arrays and "a_imag" in arrays:
            parts = arrays["a_real"], arrays["a_imag"]
        elif "a" in arrays and len(arrays["a"]) == 2 and arrays["a"].ndim == 6:
            parts = arrays["a"][0], arrays["a"][1]
        else:
            raise InputError(f"{source} needs a complex array a, or a_real and a_imag")
        receivers, transmitters = tau.shape[0], tau.shape[1 if tau.ndim == 3 else 2]
        saved = SimpleNamespace(
            **{name: arrays[name] for name in ("theta_t", "phi_t", "theta_r", "phi_r")},
            a=parts, tau=tau, valid=arrays.get("valid", np.isfinite(tau) & (tau >= 0)),
            sources=_rows_of_points(arrays["sources"]), targets=_rows_of_points(arrays["targets"]),
            num_rx=receivers, num_tx=transmitters,
        )  # fmt: skip
        reports = reports_from_sionna(
            saved, options.strongest or max(1, tau.shape[-1]), options.station or None
        )
        notes = (
            Note("angles", "phi, theta [rad], from +x and from +z"),
            Note("delay", "tau [s]"),
            Note("power", "a: squared magnitude, averaged over elements and polarisations"),
            Note("station", ", ".join(reports.station[:6])),
        )
        return Imported(reports, notes, self.name)


def _rows_of_points(points: np.ndarray) -> np.ndarray:
    """Lay points as Mitsuba does, one a column, however they were saved."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or 3 not in points.shape:
        raise InputError(f"sources and targets need shape (3, points); got {points.shape}")
    return points if points.shape[0] == 3 else points.T
