"""Arrays of Sionna RT, saved without pickles under the names of its attributes.

Takes an ``.npz`` file.
Gives `Imported`.
"""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from echoscape.checks import InputError
from echoscape.files.npz import open_npz
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
            **{f"num_{end}_patterns": arrays.get(f"num_{end}_patterns") for end in ("rx", "tx")},
        )  # fmt: skip
        reports = reports_of_paths(
            saved, options.strongest or max(1, tau.shape[-1]), options.station or None
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


def _rows_of_points(points: np.ndarray) -> np.ndarray:
    """Lay points as Mitsuba does, one a column, however they were saved."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or 3 not in points.shape:
        raise InputError(f"sources and targets need shape (3, points); got {points.shape}")
    return points if points.shape[0] == 3 else points.T
