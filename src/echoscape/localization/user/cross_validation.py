"""A campaign judged by itself: every pose is located from the reports of all others.

For each pose a map is learnt without it, errors and all, and the pose is located from the angles
and delays that the station measured; its own clock and heading may be unknown.  Beside it stand
two things one can do without a map: take the report that matches best, or take the shortest path
for the straight line.

Takes `Reports` of one station.
Gives `LeaveOneOutResult`: a `Fix`, and the truth.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float

from echoscape.channel_map.extrapolated.map import Errors, Extrapolated, ExtrapolatedMap
from echoscape.channel_map.fitting import fit_judged, model_named
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.checks import InputError, unknown_name
from echoscape.display import expect
from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localize import localize
from echoscape.localization.user.own_bias import UNKNOWNS
from echoscape.localization.user.positioning import UserPaths, score_positions, spacing_of
from echoscape.progress import Progress, silent
from echoscape.reports import Reports
from echoscape.reports.geometry import warn_of_findings
from echoscape.reports.importing.measured import direct_path_offsets
from echoscape.units import wrap_angle

_GATE = 4.0  # standard deviations from the straight line


class LeaveOneOutResult(eqx.Module):
    """Every pose located from the others, beside the truth and two baselines."""

    fix: Fix
    """Where each pose was found."""
    position: Float[np.ndarray, "pose 3"]
    """Where it was [m]."""
    obstructed: Bool[np.ndarray, " pose"]
    """Whether it has no direct path."""
    nearest: Float[np.ndarray, "pose 3"]
    """The other report that matches its paths best [m]."""
    straight: Float[np.ndarray, "pose 3"] | None
    """The end of its shortest path, taken for the straight line [m]; None if its clock is unknown,
    so that no length is."""
    errors: Errors
    """The reports' own errors, as learnt from them."""

    def distances(self) -> dict[str, Float[np.ndarray, " pose"]]:
        """Measure the horizontal error of each method at each pose [m]."""
        found = {"map": self.fix.best, "nearest report": self.nearest}
        if self.straight is not None:
            found["geometry"] = self.straight
        return {
            name: np.linalg.norm(position[:, :2] - self.position[:, :2], axis=1)
            for name, position in found.items()
        }


def leave_one_out(
    reports: Reports,
    *,
    station: str | None = None,
    model: MapModel | str = "extrapolated",
    use_arrival: bool = True,
    unknown: tuple[str, ...] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> LeaveOneOutResult:
    """Locate every pose from the reports of all others.

    Args:
        reports: Reports of one or several stations.
        station: Which station; may be left out if there is only one.
        model: Which map.
        use_arrival: Whether the other reports' arrival angles count; the pose's own do only where
            its heading is unknown.
        unknown: What each pose does not know of itself, of `own_bias.UNKNOWNS`; the others do.
        seed: Seed of the fits.
        progress: Called with poses done and all poses.

    Raises:
        InputError: There are fewer than three reports with a path, or no arrival azimuths that tell
            a heading.
    """
    for name in unknown:
        if name not in UNKNOWNS:
            raise unknown_name("unknown", name, UNKNOWNS)
    expect(reports, Reports, "leave_one_out")
    warn_of_findings(reports)
    reports = reports_of_station(reports, station)
    if not use_arrival:
        reports = _without_arrival(reports)
    count = len(reports.report)
    observed = np.asarray(reports.estimates.valid).any(axis=1)
    if observed.sum() < 3:
        raise InputError(
            f"leaving one out needs at least 3 reports with a path; got {int(observed.sum())}"
        )
    settings, spacing = Extrapolated(use_arrival=use_arrival), spacing_of(reports.position)
    model = model_named(model) if isinstance(model, str) else model
    fixes, nearest = [], np.zeros((count, 3))
    progress = progress or silent
    for k in range(count):
        progress(k, count, "leaving one out" + ("" if k else ", compiling"))
        others = reports[np.arange(count) != k]
        carried = fit_judged(others, settings)
        assert isinstance(carried, ExtrapolatedMap)
        learnt, key = carried.errors, jax.random.key(seed)
        same = isinstance(model, Extrapolated)
        found = carried if same else fit_judged(others, model, key=key)
        method = UserPaths(
            azimuth_std=float(learnt.azimuth),
            length_std=float(learnt.length),
            unknown_paths=float(learnt.unshared),
            unknown=unknown,  # pyright: ignore[reportArgumentType]
        )
        pose = reports[np.arange(count) == k]
        height = float(reports.position[k, 2])
        fixes.append(localize(pose, found, method=method, height=height))
        # Between two reports a path changes by about their distance.
        wide = {"azimuth_std": max(method.azimuth_std, 0.05), "length_std": spacing}
        match = score_positions(
            pose.estimates, carried, others.position, method.model_copy(update=wide)
        )[0]
        nearest[k] = others.position[int(np.argmax(match))]
    fix = jax.tree.map(lambda *leaves: np.concatenate(leaves), *fixes)
    progress(0, 1, "all together, compiling")
    everything = fit_judged(reports, settings)
    assert isinstance(everything, ExtrapolatedMap)
    errors = everything.errors
    return LeaveOneOutResult(
        fix=fix,
        position=np.asarray(reports.position, float),
        obstructed=is_obstructed(reports, errors),
        nearest=nearest,
        straight=None if "user-clock" in unknown else _straight(reports),
        errors=errors,
    )


def is_obstructed(reports: Reports, errors: Errors) -> Bool[np.ndarray, " report"]:
    """Tell the reports of one station that hold no path along the straight line."""
    paths, offset = reports.estimates, direct_path_offsets(reports)
    sound = offset["poses"] >= 5 and offset["scatter"] < 0.1
    shift, turn = (offset["length"], offset["azimuth"]) if sound else (0.0, 0.0)
    offset_from_station = reports.position - reports.station_position[0]
    distance, bearing = (
        np.linalg.norm(offset_from_station, axis=1),
        np.arctan2(offset_from_station[:, 1], offset_from_station[:, 0]),
    )
    residual = paths.length - shift - distance[:, None]
    angle = wrap_angle(paths.departure_azimuth - turn - bearing[:, None])
    # In a sparse campaign errors and what changes within its spacing cannot be separated: the sum;
    # and widths are about the errors over the square root of two (`Errors`).
    step = spacing_of(reports.position)
    length_variance = errors.length**2 + 0.5 * (errors.stretch * step) ** 2
    turned = errors.turn * step / np.maximum(distance, step)
    angle_variance = (errors.azimuth**2 + 0.5 * turned**2)[:, None]
    square = 0.5 * (residual**2 / float(length_variance) + angle**2 / angle_variance)
    return ~np.asarray(paths.valid & (square < _GATE**2)).any(axis=1).reshape(-1)


def summarize(found: LeaveOneOutResult) -> dict[str, Any]:
    """Count and measure: median, 90th percentile and RMS of every method [m], by kind of pose.

    The estimates of each pose's clock [s] and heading [rad] likewise: how far they are from what
    the campaign states.
    """
    summary: dict[str, Any] = {"poses": len(found.obstructed)}
    located = found.fix.status != FixStatus.NO_ECHO
    for kind, mask in (("obstructed", found.obstructed), ("in sight", ~found.obstructed)):
        mask = mask & located
        summary[kind] = {"poses": int(mask.sum())}
        for name, error in found.distances().items() if mask.any() else ():
            error = error[mask]
            summary[kind][name] = {
                "median": float(np.median(error)),
                "p90": float(np.quantile(error, 0.9, method="higher")),
                "rms": float(np.sqrt(np.mean(error**2))),
            }
    for name, value in (found.fix.own or {}).items():
        if not name.endswith("_std"):
            off = np.abs(value[located])
            summary[name] = {
                "median": float(np.median(off)), "p90": float(np.quantile(off, 0.9)),
                "rms": float(np.sqrt(np.mean(off**2))),
            }  # fmt: skip
    summary["learnt"] = {
        "azimuth_std": float(found.errors.azimuth),
        "length_std": float(found.errors.length),
        "reach": float(found.errors.reach),
        "unshared_paths": float(found.errors.unshared),
    }
    return summary


def _straight(reports: Reports) -> Float[np.ndarray, "pose 3"]:
    """Walk each report's shortest path as if it were straight."""
    paths = reports.estimates
    length = np.where(paths.valid, paths.length, np.inf)
    first = length.argmin(axis=1)
    rows = np.arange(len(first))
    reach = np.where(np.isfinite(length[rows, first]), length[rows, first], 0.0)
    azimuth = np.asarray(paths.departure_azimuth)[rows, first]
    flat = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], axis=-1)
    position = reports.station_position[0] + reach[:, None] * flat
    position[:, 2] = reports.position[:, 2]
    return position


def _without_arrival(reports: Reports) -> Reports:
    paths = reports.estimates
    nothing = np.where(paths.valid, np.inf, 0.0)
    return eqx.tree_at(
        lambda item: (
            item.estimates.arrival_azimuth_std,
            item.estimates.arrival_zenith_std,
        ),
        reports,
        (nothing, nothing),
    )
