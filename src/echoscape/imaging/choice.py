"""Which solver suits what is known: coherent where phases can be predicted, else without phases.

A coherent image needs every path's phase to a fraction of a turn, so positions to hundredths of a
wavelength.  A wide band gives delays instead; with one tone users can be fitted as long as the
stations are coherent.  What is unknown is stated as deviations in the snapshots, or named.

Takes `Snapshots`, a grid and names of what is unknown.
Gives a solver, the snapshots with a deviation for everything unknown, and a sentence that says why.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from echoscape.checks import InputError
from echoscape.imaging.calibration.solver import LARGEST_OFFSET, UserFreeVoxels
from echoscape.imaging.field.solver import NoncoherentPoints
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.solver import Solver
from echoscape.imaging.support_search.solver import VisibilityGamp
from echoscape.units import length_of, wavelength_of

UNKNOWN = ("gain", "phase", "position", "clock")
"""What can be named as unknown."""
COHERENT_SHARE = 0.02
"""Largest deviation of a path's length, in wavelengths, at which a coherent image is tried: at 0.03
of a wavelength false voxels explain the error and F1 falls to 0.6."""
POSITION_STD = 0.1
"""Deviation of users' positions that are unknown but not stated, a good indoor fix [m]."""
NEIGHBOUR = 2.0
"""Log-odds that an occupied neighbour adds by the surface prior: at 1 and at 2 boxes and walls are
found whole, at 2 more of a hollow box."""
CLOCK_STD = 1e-9
"""Deviation of users' clocks that are unknown but not stated [s]."""


def with_unknowns(snapshots: Snapshots, unknown: Sequence[str]) -> Snapshots:
    """Give everything that is named as unknown a deviation, unless it has one.

    Raises:
        InputError: A name is none, or gains cannot be separated from coefficients.
    """
    for name in unknown:
        if name not in UNKNOWN:
            raise InputError(f"unknown may name {', '.join(UNKNOWN)}; got {name!r}")
    users, stations = len(snapshots.user_position), len(snapshots.antenna_position)
    if "gain" in unknown and users == 1 and stations == 1:
        raise InputError(
            "the gain of a single user seen by a single station cannot be separated from the "
            "coefficients: use more users or stations, or do not name gain as unknown"
        )
    changes = {}
    for name, field, value in (
        ("position", "user_position_std", POSITION_STD),
        ("clock", "user_clock_std", CLOCK_STD),
    ):
        if name in unknown and getattr(snapshots, field) is None:
            changes[field] = np.full(users, value)
    return dataclasses.replace(snapshots, **changes)


def choose_solver(
    snapshots: Snapshots, unknown: Sequence[str] = (), *, bodies: bool = False
) -> tuple[Solver, str]:
    """Choose by the stated deviations and the band.

    Args:
        snapshots: With the deviations of everything unknown, see `with_unknowns`.
        unknown: Names of what is unknown besides.
        bodies: Whether to expect boxes and walls rather than single points.

    Returns:
        The solver, and a sentence that says why.

    Raises:
        InputError: Bodies are asked for, but there is only one subcarrier.
    """
    if bodies:
        if len(snapshots.frequency) < 2:
            raise InputError(
                "a surface prior needs at least two subcarriers, better eight over several hundred "
                "MHz, to tell neighbouring voxels by delay; got 1"
            )
        return NoncoherentPoints(neighbour=NEIGHBOUR), (
            "without phases, by the surface prior: voxels beside occupied ones are more probable, "
            "and scatterers stand at the centres of their voxels"
        )
    wavelength = wavelength_of(float(snapshots.frequency.mean()))
    place, clock = snapshots.deviations()
    station = snapshots.antenna_position_std
    by_station = 0.0 if station is None else float(np.max(station))
    largest = max(float(np.max(place)), float(np.max(clock)), by_station)
    reasons = [f"{name}s are unknown" for name in ("gain", "phase") if name in unknown]
    if largest > COHERENT_SHARE * wavelength:
        reasons.append(
            f"path lengths are known to {1e3 * largest:.3g} mm only, {largest / wavelength:.2g} "
            "wavelengths"
        )
    if not reasons:
        return VisibilityGamp(), "coherent: no deviation is stated that would turn phases"
    why = " and ".join(reasons)
    if len(snapshots.frequency) < 2 and by_station > COHERENT_SHARE * wavelength:
        return VisibilityGamp(), (
            f"coherent, although {why}: with one subcarrier there is nothing else; expect no "
            "certificate, or send pilots over several hundred MHz"
        )
    if len(snapshots.frequency) < 2:
        solver = UserFreeVoxels(
            phase="phase" in unknown or float(np.max(clock)) > COHERENT_SHARE * wavelength,
            gain="gain" in unknown,
        )
        if np.max(place) > LARGEST_OFFSET * wavelength:
            return solver, (
                f"free of the users, for {why}: with one subcarrier users are fitted up to "
                f"{LARGEST_OFFSET:.2g} wavelengths; coefficients are magnitudes"
            )
        return solver, f"users' phases and offsets fitted with the image, for {why}"
    band = float(np.ptp(snapshots.frequency)) * len(snapshots.frequency)
    band /= len(snapshots.frequency) - 1
    return NoncoherentPoints(), (
        f"without phases, for {why}; neighbours nearer than {length_of(0.5 / band):.2g} m, "
        "c over twice the bandwidth, are not resolved"
    )
