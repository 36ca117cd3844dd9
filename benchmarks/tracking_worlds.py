"""How near and how honest is the joint filter, in worlds of walls whose paths are exact?

Scenes of `studies.isac_channel.walks`, walks through cities of ray tracers where their meshes are
given, and a ray-traced route where that is given. A row is a case; RMSE of the level position is
median and worst over worlds and seeds. NEES of the level position is 2 where the covariance is
honest; *bad* is the share of instants called tracked whose error is above 3 m and above 3 claimed
standard deviations; *unflagged* is the RMSE of the instants called tracked, and their share.

    PYTHONPATH=src:. python benchmarks/tracking_worlds.py --seeds 3 --cities FOLDER --route FILE

With `--rows FILE` every walk is a row of a JSON file, those of other cases and seeds kept; a table
is printed of all that is stored.  `--page` writes that of `docs/tracking_rows.json` into the page.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from tests.worlds.routes import city_route

from echoscape.studies.isac_channel.walks import SCENES, scene_route
from echoscape.studies.isac_channel.world import Route, observe_route, read_route
from echoscape.tracking import AnchorType, JointFilter, UserStatus, track
from echoscape.units import SPEED_OF_LIGHT

jax.config.update("jax_enable_x64", True)

TUNED = ("munich_a", "etoile_a")
CLAIMED = ("munich_b", "etoile_b")
WIDTH = 32
ROOT = Path(__file__).resolve().parents[1]
PAGE, ROWS = ROOT / "docs/papers/isac-gbsm.md", ROOT / "docs/tracking_rows.json"
BEGIN, END = "<!-- table of docs/tracking_rows.json -->", "<!-- end of the table -->"
CLOCK, HEADING = 10e-9 * SPEED_OF_LIGHT, np.radians(3.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is done to the observations of a route, and how they are followed."""

    missed: float = 0.1
    false: float = 0.05
    noise: float = 1.0
    every: int = 1
    clock: float = 0.0
    heading: float = 0.0
    start: float = 0.0
    unknown: tuple[str, ...] = ()
    motion: str = "pedestrian"
    smooth: bool = False


CITY_CASES = {
    "clean": Case(0.0, 0.0),
    "10 % missed, 5 % false": Case(),
    "smoothed": Case(smooth=True),
    "noise x 3": Case(noise=3.0),
    "30 % missed": Case(missed=0.3),
    "5 Hz": Case(every=2),
    "clock 10 ns, declared": Case(clock=CLOCK, unknown=("clock",)),
    "heading 3 deg, declared": Case(heading=HEADING, unknown=("heading",)),
    "clock 10 ns, undeclared": Case(clock=CLOCK),
    "heading 3 deg, undeclared": Case(heading=HEADING),
    "start 15 m wrong": Case(start=15.0),
}
SCENE_CASES = {
    "room": Case(0.05, 0.02),
    "corridor": Case(0.05, 0.02),
    "street": Case(0.05, 0.02),
    "into_shadow": Case(0.05, 0.02),
    "car": Case(0.05, 0.02, motion="vehicle"),
    "uav": Case(0.05, 0.02, motion="uav"),
}


def load(name, cities, traced, cache):
    """Trace or read a route; traced ones are kept in a folder where one is given."""
    if name == "shared":
        return read_route(traced)
    if name in SCENES:
        return scene_route(name)
    file = None if cache is None else Path(cache) / f"{name}.npz"
    if file is not None and file.exists():
        with np.load(file) as stored:
            return Route(**stored)
    route = city_route(name, cities)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{f.name: getattr(route, f.name) for f in dataclasses.fields(route)})
    return route


def follow(route, case, seed, settings):
    """Follow one walk; give the tracks and the route as it was observed."""
    cut = slice(None, None, case.every)
    fields = ("time", "position", "velocity", "path", "power")
    route = dataclasses.replace(route, **{name: getattr(route, name)[cut] for name in fields})
    rng = np.random.default_rng([seed, 7])
    seen = observe_route(
        route, rng, missed=case.missed, false=case.false, length_std=0.3 * case.noise,
        departure_std=0.5 * case.noise, arrival_std=1.0 * case.noise,
    )  # fmt: skip
    paths = seen.estimates
    azimuth = paths.arrival_azimuth + np.where(paths.valid, case.heading, 0.0)
    paths = dataclasses.replace(
        paths,
        length=paths.length + np.where(paths.valid, case.clock, 0.0),
        arrival_azimuth=(azimuth + np.pi) % (2 * np.pi) - np.pi,
    )
    more = ((0, 0), (0, max(0, WIDTH - paths.valid.shape[1])))  # one compilation for all walks
    paths = jax.tree.map(lambda leaf: np.pad(leaf, more), paths)
    row = np.pad(seen.row, more, constant_values=-1)
    seen = eqx.tree_at(lambda s: s.row, seen, row)
    known = np.zeros(len(route.time), bool)
    seen = eqx.tree_at(lambda s: (s.estimates, s.user_known), seen, (paths, known))
    angle = 2.4 * seed + 0.7
    shift = case.start * np.array([np.cos(angle), np.sin(angle), 0.0])
    method = settings.with_motion(case.motion).with_unknown(*case.unknown)
    found = track(
        seen, route.station, method, start=route.position[0] + shift,
        start_velocity=route.velocity[0], smooth=case.smooth,
    )  # fmt: skip
    return found, route


def score(found, route):
    """Error and honesty of one walk."""
    wrong = np.asarray(found.record.user)[:, :3] - route.position
    level = np.linalg.norm(wrong[:, :2], axis=1)
    covariance = np.asarray(found.record.user_covariance)[:, :2, :2]
    nees = np.einsum("ti,tij,tj->t", wrong[:, :2], np.linalg.pinv(covariance), wrong[:, :2])
    std = np.sqrt(np.trace(covariance, axis1=1, axis2=2))
    tracked = found.user_status == UserStatus.TRACKED
    length = np.linalg.norm(route.position - route.station, axis=1)
    direct = np.abs(route.path[..., 0] - length[:, None]) < 1e-6
    sight = (direct & (route.power > 0)).any(axis=1)
    first = np.flatnonzero(sight)
    after = np.arange(len(level)) >= (first[0] if len(first) else len(level))
    since = np.cumsum(sight) * np.median(np.diff(route.time))
    flagged = np.flatnonzero(after & ~tracked)
    begin = route.time[first[0]] if len(first) else np.nan
    heading = -np.asarray(found.record.nuisance)[:, 2]  # arrivals fall as the array turns
    return {
        "rmse": rms(level),
        "height": rms(wrong[:, 2]),
        "nees": nees.mean(),
        "bad": ((level > 3) & (level > 3 * std) & tracked).mean(),
        "unflagged": rms(level[tracked]) if tracked.any() else np.nan,
        "tracked": tracked.mean(),
        # seconds from the first line of sight to the first instant not called tracked
        "flag": route.time[flagged[0]] - begin if len(flagged) else np.inf,
        "flagged after": (~tracked[after & (since > 5)]).mean() if (since > 5).any() else np.nan,
        "after sight": rms(level[since > 3]) if (since > 3).any() else np.nan,
        "heading": np.degrees(heading[sight & (since > 3)]),
        "kept": np.mean(np.asarray(found.record.kind) == AnchorType.SCATTERER),
    }


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def row(name, worlds, case, seeds, settings, routes):
    """Follow a case over worlds and seeds; give a row for each walk."""
    rows = []
    for world in worlds:
        for seed in seeds:
            begin = time.process_time()
            found, route = follow(routes(world), case, seed, settings)
            scores = score(found, route)
            heading = scores.pop("heading") - np.degrees(case.heading)
            if "heading" in case.unknown:
                scores["heading"] = rms(heading) if len(heading) else np.nan
            spent = time.process_time() - begin
            rows.append({"case": name, "world": world, "seed": seed, **scores, "seconds": spent})
            print(tell(rows[-1:], f"    {world} {seed}"), flush=True)
    return rows


def tell(rows, title):
    """Put rows of a case in one line: median and worst of the errors, mean of the rest."""
    table = {key: np.array([each[key] for each in rows]) for key in rows[0]}
    typical, worst = (
        {key: f(table[key]) for key in ("rmse", "nees", "bad", "unflagged", "after sight", "flag")}
        for f in (np.nanmedian, np.nanmax)
    )
    extra = ""
    if "15 m" in rows[0]["case"]:
        extra = f"; 3 s after sight {typical['after sight']:.2f} [{worst['after sight']:.2f}] m"
    if "undeclared" in rows[0]["case"]:
        extra = f"; flagged after {typical['flag']:.1f} [{worst['flag']:.1f}] s, "
        extra += f"then for {np.nanmean(table['flagged after']):.0%}"
    if "heading" in table:
        extra = f"; heading in sight off by {rms(table['heading']):.2f} deg"
    return (
        f"{title:27} {typical['rmse']:6.2f} [{worst['rmse']:6.2f}] m, "
        f"NEES {table['nees'].mean():6.1f} [{worst['nees']:6.1f}], "
        f"bad {table['bad'].mean():.3f} [{worst['bad']:.3f}], "
        f"unflagged {typical['unflagged']:.2f} [{worst['unflagged']:.2f}] m "
        f"over {table['tracked'].mean():.0%}, height {np.median(table['height']):.2f} m{extra}; "
        f"{len(rows)} walks, {table['seconds'].sum():.0f} s"
    )


def markdown(rows):
    """Lay stored rows out as the table of the page: a line for each case."""
    lines = [
        "| case | walks, seeds | level error [m] | NEES | bad | not flagged [m] | tracked |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in [*SCENE_CASES, *CITY_CASES, "shared route"]:
        found = [each for each in rows if each["case"] == name]
        if not found:
            continue
        table = {key: np.array([each[key] for each in found]) for key in found[0]}
        worlds, seeds = (len(set(table[key])) for key in ("world", "seed"))
        level, clear = table["rmse"], table["unflagged"]
        lines.append(
            f"| {name} | {worlds}, {seeds} | {np.median(level):.2f} [{level.max():.2f}] | "
            f"{table['nees'].mean():.1f} [{table['nees'].max():.1f}] | {table['bad'].mean():.1%} "
            f"[{table['bad'].max():.1%}] | {np.nanmedian(clear):.2f} [{np.nanmax(clear):.2f}] | "
            f"{table['tracked'].mean():.0%} |"
        )
    return "\n".join(lines)


def write_page():
    """Put the table of the stored rows into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(json.loads(ROWS.read_text()))}\n{END}{after}")


def store(path, rows):
    """Put rows beside those of other cases, worlds and seeds."""
    kept = json.loads(path.read_text()) if path.exists() else []
    latest = {(each["case"], each["world"], each["seed"]): each for each in [*kept, *rows]}
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in latest.values()) + "\n]\n")
    return list(latest.values())


def main():
    parser = argparse.ArgumentParser(description="Walks followed by the joint filter")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--rows", type=Path, help="JSON file of all walks to add to")
    parser.add_argument("--cities", help="folder of etoile.npz and munich.npz")
    parser.add_argument("--route", help="ray-traced route, .npz")
    parser.add_argument("--cache", help="folder for traced routes")
    parser.add_argument("--only", default="", help="words that a row's name must have one of")
    parser.add_argument("--tuned", action="store_true", help="walks used for tuning, not others")
    parser.add_argument("--set", action="append", default=[], help="setting=value of the filter")
    parser.add_argument("--page", action="store_true", help="only write the table into the page")
    given = parser.parse_args()
    if given.page:
        return write_page()
    changes = dict(each.split("=") for each in given.set)
    kinds = {name: type(getattr(JointFilter(), name)) for name in changes}
    settings = dataclasses.replace(
        JointFilter(), **{name: kinds[name](value) for name, value in changes.items()}
    )
    kept = {}

    def routes(name):
        if name not in kept:
            kept[name] = load(name, given.cities, given.route, given.cache)
        return kept[name]

    def wanted(name):
        return any(word in name for word in given.only.split(",")) if given.only else True

    seeds = range(given.first, given.first + given.seeds)
    walks = TUNED if given.tuned else CLAIMED
    runs = [(name, [name], case, seeds) for name, case in SCENE_CASES.items()]
    if given.cities:
        runs += [(name, walks, case, seeds) for name, case in CITY_CASES.items()]
    if given.route:
        runs.append(("shared route", ["shared"], Case(), seeds))
    for name, worlds, case, numbers in runs:
        if not wanted(name):
            continue
        rows = row(name, worlds, case, numbers, settings, routes)
        print(tell(rows, name), flush=True)
        if given.rows:
            store(given.rows, rows)
    if given.rows:
        print("stored:")
        every = json.loads(given.rows.read_text())
        for name in dict.fromkeys(each["case"] for each in every):
            print(tell([each for each in every if each["case"] == name], name))


if __name__ == "__main__":
    main()
