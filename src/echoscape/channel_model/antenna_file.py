"""Antennas from the command line: by name, or a field pattern from a table.

Takes text such as ``tr38901,cross``, or the name of a table.
Gives an `Antenna`.
"""

from pathlib import Path

import numpy as np

from echoscape.checks import unknown_name
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.reports.schema import Column, Schema
from echoscape.scene.antenna_pattern import (
    POLARISATIONS,
    Antenna,
    TabulatedPattern,
    make_antenna,
    tabulated_pattern,
)

_FIELDS = ("theta_re", "theta_im", "phi_re", "phi_im")
_PATTERN = Schema(
    "antenna pattern",
    "",
    (
        Column("azimuth", "number", "[rad]", True),
        Column("zenith", "number", "[rad]", True),
        *(Column(name, "number", "", name == "theta_re") for name in _FIELDS),
    ),
)


def read_pattern(path: str | Path) -> TabulatedPattern:
    """Read the field of an element over directions.

    Args:
        path: Table of azimuth and zenith [rad], theta_re and where there are any theta_im, phi_re
            and phi_im, components along rising zenith and azimuth, squared sizes the gain [1].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used.
    """
    table = read_table(path, _PATTERN)
    columns = Columns(table, _PATTERN, str(path))
    azimuth, zenith = columns.values("azimuth"), columns.values("zenith")
    parts = [columns.values(n) if columns.has(n) else 0.0 * azimuth for n in _FIELDS]
    field = np.stack([parts[0] + 1j * parts[1], parts[2] + 1j * parts[3]], axis=1)
    return tabulated_pattern(azimuth, zenith, field, str(path))


def read_antenna(text: str) -> Antenna:
    """Read an antenna such as ``tr38901``, ``dipole,VH`` or ``horn.csv,cross``.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: There is no such pattern or polarisation, or the table cannot be used.
    """
    pattern, _, polarisation = text.partition(",")
    polarisation = polarisation or "V"
    if not Path(pattern).suffix:
        return make_antenna(pattern, polarisation)
    if polarisation not in POLARISATIONS:
        raise unknown_name("polarisation", polarisation, list(POLARISATIONS))
    return Antenna(read_pattern(pattern), POLARISATIONS[polarisation])
