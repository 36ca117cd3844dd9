"""Study `occlusion-imaging`: images of voxels that hide each other, all solvers side by side.

Figures 7 to 14 of [multiview-imaging] on worlds whose seeds were never used for tuning: images
from one station and from five, the error against users, noise and occupied voxels, within range
and over everything, how the messages converge, what nobody sees against what theory expects; and
beyond the paper occlusion by solid cubes, noise that nobody tells, and scatterers off the grid
with random phases.  Last come worlds in which users, stations or the noise are not what is stated;
there F1 is by position.  The whole study takes about four minutes a seed on one core.

Takes an `OcclusionImaging` configuration.
Gives rows: one for each world and method, kept as they come.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from echoscape.imaging import (
    GridSolver,
    IgnoreOcclusion,
    KnownMask,
    NoncoherentGamp,
    OcclusionAwareGamp,
    Problem,
    UnstructuredMask,
    VisibilityGamp,
    VoxelImage,
    make_problem,
)
from echoscape.imaging import image as make_image
from echoscape.imaging.choice import choose_solver, with_unknowns
from echoscape.imaging.known import genie, realisable_oracle
from echoscape.imaging.occlusion.coverage import (
    hidden_from_all,
    length_inside,
    segment_hidden,
    unseen,
)
from echoscape.imaging.simulation import Truth
from echoscape.imaging.solver import Solver, assemble_image
from echoscape.studies.occlusion_imaging.field_world import (
    FIELD,
    POINTS,
    FieldWorld,
    make_field_world,
    score_points,
)
from echoscape.studies.occlusion_imaging.world import STANDARD, World, make_world
from echoscape.studies.sweep import Progress, Row, Setting, Spread, sweep

METHODS = (
    "genie",
    "realisable oracle",
    "known mask",
    "visibility",
    "geometry",
    "unstructured",
    "ignore",
)
"""Three that know part of the truth; ours; GAMP-MVSVR; a mask without geometry; no occlusion."""
HELD_OUT = 5000
"""First seed; smaller ones may have been used for tuning."""
GENIE = "genie"
"""What shares are counted against."""


@dataclasses.dataclass(frozen=True)
class OcclusionImaging:
    """What the study does."""

    seeds: int = 50
    """Worlds at each point."""
    quick: bool = False
    """A small box and few points, under a minute."""
    first_seed: int = HELD_OUT
    """Seed of the first world; the others follow."""


def points(quick: bool = False) -> list[Setting]:
    """List the points of the study, each by how it differs from the standard world."""
    if quick:
        small = {"shape": [8, 7, 5], "scatterers": 10, "users": 6}
        return [{**small, "stations": 5}, {**small, "stations": 1}]
    found: list[Setting] = []
    for stations in (5, 1):
        base = {"stations": stations}
        found += [base]
        found += [{**base, "users": users} for users in (2, 4, 8, 16)]
        found += [{**base, "snr_db": level} for level in (0.0, 10.0, 30.0)]
        found += [{**base, "scatterers": count} for count in (20, 100, 150)]
        found += [{**base, "cubes": True}, {**base, "noise_told": False}]
        found += [{**base, "tones": 8, "off_grid": 0.02}]
    return found + [{**FIELD, **changes, "field": name} for name, changes in POINTS.items()]


def settings_of(study: OcclusionImaging) -> list[Setting]:
    """List every world of the study: all points of one seed, then all of the next."""
    seeds = range(study.first_seed, study.first_seed + study.seeds)
    return [{**point, "seed": seed} for seed in seeds for point in points(study.quick)]


def run(
    study: OcclusionImaging,
    file: Path | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Row]:
    """Run the study, or go on with it."""
    if progress is None or spread is not None:
        return sweep(settings_of(study), measure, file, progress, spread)
    at = 0.0, 1.0

    def show(done: float | int, total: float | int, stage: str) -> None:
        nonlocal at
        at = done, total
        progress(done, total, stage)

    def measure_aloud(setting: Setting) -> list[Row]:
        done, total = at
        return measure(setting, lambda share, what: progress(done + share, total, what))

    return sweep(settings_of(study), measure_aloud, file, show)


def solvers_for(world: World, problem: Problem) -> dict[str, GridSolver]:
    """Make every solver, each informed as it is to be; without phases there is one."""
    if problem.received.shape[0] > 1:
        return {"noncoherent": NoncoherentGamp()}
    truth, view = world.truth, np.asarray(problem.view)
    return {
        "genie": genie(truth),
        "realisable oracle": realisable_oracle(truth, world.grid, view, float(problem.radius)),
        "known mask": KnownMask(truth.user, truth.station),
        "visibility": VisibilityGamp(),
        "geometry": OcclusionAwareGamp(),
        "unstructured": UnstructuredMask(),
        "ignore": IgnoreOcclusion(),
    }


def measure(
    setting: Setting, tell: Callable[[float, str], None] = lambda share, what: None
) -> list[Row]:
    """Measure every method on one world; in the field the one that is chosen by itself.

    Args:
        setting: The world.
        tell: Takes the share of this that is done, and what comes next.
    """
    if "field" in setting:
        return measure_field(setting)
    world = make_world(setting)
    problem = make_problem(world.snapshots, world.grid)
    expected = unseen_expected(world)
    rows: list[Row] = []
    solvers = solvers_for(world, problem)
    for k, (method, solver) in enumerate(solvers.items()):
        tell(k / len(solvers), f"{method}, compiling and solving")
        began = time.perf_counter()
        solution = solver.solve(problem)
        spent = time.perf_counter() - began
        image = assemble_image(problem, solution, world.snapshots, world.grid)
        row = {"method": method, **score(image, world.truth), "seconds": spent}
        row["iterations"], row["status"] = image.iterations, image.status.name.lower()
        row["trace"] = [round(float(value), 5) for value in solution.trace]
        row["unseen_true"] = int(np.sum(~world.truth.in_range))
        row["unseen_expected"] = expected
        if setting["seed"] % 50 == 0:  # pictures are drawn of the first world only
            row |= _picture(image, world.truth)
        rows.append(row)
    genie = next((row["error_db"] for row in rows if row["method"] == GENIE), None)
    return [
        row | {"above_genie_db": None if genie is None else row["error_db"] - genie} for row in rows
    ]


def measure_field(setting: Setting) -> list[Row]:
    """Measure the solver that stated deviations choose on a world that is stated wrong.

    Bodies are imaged by the surface prior as well.
    """
    world = make_field_world(setting)
    solvers: dict[str, Solver | None] = {"chosen": None}
    if (FIELD | setting)["body"] != "points":
        snapshots = with_unknowns(world.snapshots, world.unknown)
        solvers["surface prior"], _ = choose_solver(snapshots, world.unknown, bodies=True)
    rows: list[Row] = []
    for method, solver in solvers.items():
        began = time.perf_counter()
        image = make_image(world.snapshots, world.grid, solver=solver, unknown=world.unknown)
        row = {"method": method, **score(image, world.truth), **score_points(world, image)}
        row["seconds"], row["iterations"] = time.perf_counter() - began, image.iterations
        row["unseen_true"] = int(np.sum(~world.truth.in_range))
        row["unseen_expected"] = unseen_expected(world)
        rows.append(row | {"above_genie_db": None})
    return rows


def score(image: VoxelImage, truth: Truth) -> dict[str, Any]:
    """Score an image: errors in decibels, occupied and unseen voxels, the certificate."""
    true, there = truth.coefficient, truth.in_range
    mean = image.mean.ravel()
    mean = np.abs(mean) if np.iscomplexobj(mean) else mean
    wrong = (mean - true) ** 2
    occupied, found = true != 0, mean > 0.1
    hidden, said = ~there, image.unseen.ravel()
    certificate = image.certificate
    return {
        "error_db": _decibel(wrong[there].sum(), np.sum(true[there] ** 2)),
        "error_full_db": _decibel(wrong.sum(), np.sum(true**2)),
        "f1": _f1(found & there, occupied & there),
        "unseen_precision": float(np.sum(said & hidden) / max(said.sum(), 1)),
        "unseen_recall": float(np.sum(said & hidden) / max(hidden.sum(), 1)),
        "unseen_said": int(said.sum()),
        "misfit": certificate.misfit,
        "limit": certificate.limit,
        "least_log_odds": min(certificate.least_log_odds, 1e9),
        "certified": bool(certificate.holds),
    }


def unseen_expected(world: World | FieldWorld) -> float:
    """Expect how many voxels nobody sees, Eq. (66) of [multiview-imaging]."""
    grid, snapshots = world.grid, world.snapshots
    centre = jnp.asarray(grid.centres())
    rate = float(np.mean(world.truth.coefficient != 0))

    def hidden(places):
        length = length_inside(grid, jnp.asarray(places)[:, None], centre[None])
        return hidden_from_all(segment_hidden(length, grid, rate, 0.5 * grid.edge))

    station = snapshots.antenna_position.mean(1)
    return float(jnp.sum(unseen(hidden(snapshots.user_position), hidden(station))))


def summary(rows: list[Row]) -> list[Row]:
    """Sum up each point and method: medians, shares, and what a certificate is log-odds."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((point_name(row), row["method"]), []).append(row)
    found = []
    for (point, method), group in groups.items():
        above = np.array([row["above_genie_db"] for row in group], float)
        certified = np.array([row["certified"] for row in group])
        judged = bool(np.all(np.isfinite(above)))  # without phases there is no genie
        middle: Row = {
            name: float(np.median([row[name] for row in group]))
            for name in ("error_db", "error_full_db", "seconds")
        }
        middle["above_genie_db"] = float(np.median(above)) if judged else None
        mean: Row = {
            name: float(np.mean([row[name] for row in group]))
            for name in ("f1", "unseen_true", "unseen_expected")
        }
        # Pooled over the worlds: in many of them everything is seen.
        hits = sum(row["unseen_recall"] * row["unseen_true"] for row in group)
        said = sum(row["unseen_said"] for row in group)
        hidden = sum(row["unseen_true"] for row in group)
        mean["unseen_precision"] = hits / said if said else None
        mean["unseen_recall"] = hits / hidden if hidden else None
        found.append(
            {"point": point, "method": method, "seeds": len(group), **middle, **mean}
            | {
                "within_1_db": float(np.mean(above < 1)) if judged else None,
                "within_3_db": float(np.mean(above < 3)) if judged else None,
                "certified": float(certified.mean()),
                "good_if_certified": float(np.mean(above[certified] < 3))
                if judged and certified.any()
                else None,
            }
        )
    return found


def point_name(row: Row) -> str:
    """Name a row's point by how it differs from the standard world."""
    if "field" in row:
        return row["field"]
    parts = ["one station" if row["stations"] == 1 else f"{row['stations']} stations"]
    for name, words in (("users", "K"), ("scatterers", "S"), ("snr_db", "SNR [dB]")):
        if row.get(name, STANDARD[name]) != STANDARD[name]:
            parts.append(f"{words} {row[name]:g}")
    if row.get("cubes"):
        parts.append("cubes")
    if not row.get("noise_told", True):
        parts.append("noise unknown")
    if row.get("tones", 1) > 1:
        parts.append(f"{row['tones']} tones, off the grid")
    return ", ".join(parts)


def _picture(image: VoxelImage, truth: Truth) -> dict[str, Any]:
    """Keep what a figure of the image needs."""
    mean = np.abs(image.mean.ravel())
    found, true = np.flatnonzero(mean > 0.05), np.flatnonzero(truth.coefficient)
    return {
        "voxels": found.tolist(),
        "values": np.round(mean[found], 4).tolist(),
        "true_voxels": true.tolist(),
        "true_values": np.round(truth.coefficient[true], 4).tolist(),
        "grid_shape": list(image.grid.shape),
    }


def _decibel(wrong: float, power: float) -> float:
    return float(10 * np.log10(max(wrong / max(power, 1e-30), 1e-12)))


def _f1(found: np.ndarray, there: np.ndarray) -> float:
    return float(2 * np.sum(found & there) / max(found.sum() + there.sum(), 1))
