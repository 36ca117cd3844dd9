"""Arrays of Sionna RT, saved without pickles under the names of its attributes.

Takes an ``.npz`` file.
Gives `Imported`.
"""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from echoscape.checks import InputError
from echoscape.files.npz import Kind, Npz, open_npz
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.sionna import reports_of_paths, sionna_links


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
            saved = _paths(archive, set(archive))
        reports = reports_of_paths(
            saved, options.strongest or max(1, saved.tau.shape[-1]), options.station or None
        )
        received, sent = sionna_links(saved).polarisations
        notes = (
            Note("angles", "phi, theta [rad], from +x and from +z"),
            Note("delay", "tau [s]"),
            Note(
                "power",
                f"a: squared magnitude; polarisations received ({received}) added, sent ({sent}) "
                "averaged",
            ),
            Note("station", ", ".join(reports.station[:6])),
        )
        return Imported(reports, notes, self.name)


def _paths(archive: Npz, names: set[str]) -> SimpleNamespace:
    """Read what a `Paths` object has, each array of the shape that the delays tell."""
    for name in ("tau", "theta_t", "phi_t", "theta_r", "phi_r", "sources", "targets"):
        if name not in names:
            raise InputError(f"{archive.source} lacks the array {name!r} of Sionna's Paths; add it")
    tau = archive.array("tau", finite=False)
    if tau.ndim not in (3, 5) or 0 in tau.shape[:-1]:
        raise InputError(
            f"{archive.source} needs tau of shape (rx, tx, path), or with antennas (rx, antenna, "
            f"tx, antenna, path); got {tau.shape}"
        )
    receivers, transmitters = tau.shape[0], tau.shape[1 if tau.ndim == 3 else 2]
    full = (receivers, None, transmitters, None, tau.shape[-1])

    def whole(name: str, kind: Kind, lead: tuple[int, ...] = ()) -> np.ndarray:
        """Read coefficients, of the first instant: those that `cir` gives differ in phase only."""
        timed = archive.array(name, kind, finite=False).ndim == len(lead) + len(full) + 1
        read = archive.array(name, kind, (*lead, *full, *[None] * timed), False)
        return read[..., 0] if timed and read.shape[-1] else read

    if {"a_real", "a_imag"} <= names:
        parts = whole("a_real", "real"), whole("a_imag", "real")
    elif "a" not in names:
        raise InputError(f"{archive.source} needs a complex array a, or a_real and a_imag")
    elif np.isrealobj(archive.array("a", "complex", finite=False)):
        parts = tuple(whole("a", "real", (2,)))
    else:
        complete = whole("a", "complex")
        parts = np.real(complete), np.imag(complete)
    ends = {name: _rows_of_points(archive.array(name)) for name in ("sources", "targets")}
    for axis, name, count in ((1, "targets", receivers), (3, "sources", transmitters)):
        antennas = parts[0].shape[axis]
        elements = ends[name].shape[1] / count
        most = 1 if tau.ndim == 3 else antennas
        if not 1 <= elements <= most or elements % 1 or antennas % elements:
            raise InputError(
                f"{archive.source}: {ends[name].shape[1]} {name} do not fit {count} devices of "
                f"{antennas} antennas each"
            )
    return SimpleNamespace(
        **{
            name: archive.array(name, "real", tau.shape, False)
            for name in ("theta_t", "phi_t", "theta_r", "phi_r")
        },
        a=parts, tau=tau, **ends, num_rx=receivers, num_tx=transmitters,
        valid=archive.array("valid", "boolean", tau.shape) if "valid" in names
        else np.isfinite(tau) & (tau >= 0),
        **{
            name: archive.number(name, "integer") if name in names else None
            for name in ("num_rx_patterns", "num_tx_patterns")
        },
    )  # fmt: skip


def _rows_of_points(points: np.ndarray) -> np.ndarray:
    """Lay points as Mitsuba does, one a column, however they were saved."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or 3 not in points.shape:
        raise InputError(f"sources and targets need shape (3, points); got {points.shape}")
    return points if points.shape[0] == 3 else points.T
