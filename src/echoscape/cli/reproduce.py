"""`echoscape reproduce`: the figures of papers, from their studies.

Takes a study's settings.
Gives rows and figures.
"""

from pathlib import Path
from typing import Annotated, Any

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_folder, deprecated, read_multiples
from echoscape.cli.reproduce_imaging import occlusion_imaging
from echoscape.cli.reproduce_isac_channel import isac_channel
from echoscape.cli.reproduce_loop import closed_loop
from echoscape.cli.study_parts import part_names, write_lines

_UNITS = {"delay": "ns", "reports": "reports", "stations": "stations", "snr_db": "dB"}

app = cyclopts.App(name="reproduce", help="Reproduce the figures of papers.")
app.command(occlusion_imaging, name="occlusion-imaging")
app.command(isac_channel, name="isac-channel")
app.command(closed_loop, name="closed-loop")


@app.command(name="isac-forecast")
def isac_forecast(
    *,
    out: Path,
    route: Path | None = None,
    mesh: Path | None = None,
    noise: str = "1",
    horizon: str = "5,10,18",
    every: float = 10.0,
    seconds: float | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Forecast the spreads of a channel from its last observation on: about three minutes.

    An interrupted run goes on where it ended when it is called again.

    Args:
        out: Folder for rows.jsonl and the figure.
        route: Ray-traced route as .npz; a walk through the sample city if not given.
        mesh: Walls of that route, .npz or .obj.
        noise: Errors as multiples of 0.3 m, 0.5 and 1 degree, such as 0.3,1,3.
        horizon: How long after the last observation, such as 5,10,18 [s].
        every: Time between instants from which it is forecast [s].
        seconds: Length of the walk; all of it if not given [s].
        workers: Measure with so many processes of this machine at once; one alone if not given.
        scheduler: Measure with the workers of this Dask scheduler, such as tcp://host:8786.
        seed: Seed of everything random; same seed, same result.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError

    check_folder(out)
    levels, ahead = read_multiples(noise, "--noise"), read_multiples(horizon, "--horizon")
    if (route is None) != (mesh is None):
        raise InputError("--route and --mesh go together: a forecast needs the walls of the route")
    if not 0.1 <= every < 1e6:
        raise InputError(f"--every must be at least 0.1, in s; got {every:g}")
    if seconds is not None and not seconds >= 5 + max(ahead):
        raise InputError(
            f"--seconds must be at least {5 + max(ahead):g}, in s, for that --horizon; "
            f"got {seconds:g}"
        )
    from echoscape.plotting.fixes import save_figure
    from echoscape.studies.cluster import spread_over
    from echoscape.studies.isac_channel.forecast import RouteForecast, draw_forecast, run

    settings = RouteForecast(route, mesh, levels, ahead, every, seconds, seed)
    with spread_over(workers, scheduler) as spread, progress("forecasting", quiet) as tell:
        rows = run(settings, out / "rows.jsonl", tell, spread)
    save_figure(draw_forecast(rows), out / "forecast.png")
    summary: dict[str, Any] = {}
    for row in rows:
        if row["median"] is not None:
            case = f"noise {row['noise']:g}, {row['horizon']:g} s, user {row['user']}"
            summary.setdefault(f"{case}, {row['method']}", {})[row["spread"]] = round(
                row["median"], 3
            )
    if json:
        print_json(summary)
    else:
        print_table(str(out), {name: str(value) for name, value in summary.items()})


@app.command(name="isac-targets")
def isac_targets(
    *,
    out: Path,
    route: Path | None = None,
    mesh: Path | None = None,
    requirements: Annotated[
        str, deprecated(old="--promises", new="--requirements")
    ] = "T1,T2,T3,T4,T5,T6,T7,T9,T10",
    seconds: float | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure every requirement of tracking and the channel model, each beside its limit.

    About ten minutes along a ray-traced route; an interrupted run goes on where it ended.

    Args:
        out: Folder for rows.jsonl.
        route: Ray-traced route as .npz; a walk through the sample city if not given.
        mesh: Walls of that route, .npz or .obj.
        requirements: Which ones: T1, images stand still; T2, filter over observation; T3, a user
            unknown after the start; T4, 18 s ahead; T5, bounces; T6, spreads by geometry; T7,
            spreads 10 s ahead; T9, Doppler; T10, particles against Kalman.
        seconds: Length of the walk; all of it if not given [s].
        workers: Measure with so many processes of this machine at once; one alone if not given.
        scheduler: Measure with the workers of this Dask scheduler, such as tcp://host:8786.
        seed: Seed of everything random; same seed, same result.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError

    check_folder(out)
    if seconds is not None and not seconds >= 25:
        raise InputError(f"--seconds must be at least 25, in s; got {seconds:g}")
    from echoscape.studies.cluster import spread_over
    from echoscape.studies.isac_channel.requirements import RouteTargets, run

    names = tuple(name.strip() for name in requirements.split(",") if name.strip())
    settings = RouteTargets(route, mesh, names, seconds=seconds, seed=seed)
    with spread_over(workers, scheduler) as spread, progress("measuring", quiet) as tell:
        rows = run(settings, out / "rows.jsonl", tell, spread)
    if json:
        print_json(rows)
        return
    summary = {
        f"{row['promise']}, {row['quantity']}": f"{row['value']:.3g} ({row['bound']}, "
        f"{row['count']} epochs): {row['status']}"
        for row in rows
    }
    print_table(str(out), summary)


@app.command(name="nlos-sensing")
def nlos_sensing(
    *,
    out: Path,
    parts: str = "square,learning,city,samples,stations,moving,communication",
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    layouts: int | None = None,
    city: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Locate unseen targets in the paper's square, with its methods and ours.

    Asked again with the same folder, it goes on where it was interrupted.

    Args:
        out: Folder for the rows, a table and the figures.
        parts: Which parts, separated by commas.
        quick: Measure few small points, up to a minute a part, to see that it works.
        layouts: How many layouts of scatterers; ten and eight if not given.
        city: Ray-traced table of a city's users (.npz); the package's own sample if not given.
        workers: Measure with so many processes of this machine at once; one alone if not given.
        scheduler: Measure with the workers of this Dask scheduler, such as tcp://host:8786.
        seed: Seed of everything random; same seed, same result.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError

    check_folder(out)
    if layouts is not None and not 1 <= layouts <= 1000:
        raise InputError(f"--layouts must be between 1 and 1000; got {layouts}")
    from echoscape.plotting.fixes import save_figure
    from echoscape.studies.cluster import spread_over
    from echoscape.studies.nlos_ckm.study import Options, draw_parts, measure_parts, table

    names = part_names(parts, "square")
    with spread_over(workers, scheduler) as spread, progress("measuring", quiet) as tell:
        rows = measure_parts(names, out, Options(quick, seed, layouts, city), tell, spread)
    for name, figure in draw_parts(rows).items():
        save_figure(figure, out / f"{name}.png")
    lines = table(rows)
    write_lines(lines, out)
    if json:
        print_json(lines)
        return
    summary = {}
    for line in lines:
        if "rmse" not in line:
            summary.update(_plain_summary(line))
        elif line.get("kind") in (None, "delay") and line.get("delay", 5.0) in (5.0, 20.0):
            kind = [f"{line[name]:g} {unit}" for name, unit in _UNITS.items() if name in line]
            kind += [str(line["quality"])] if "quality" in line else []
            if line.get("position_std") or line.get("wrong"):
                kind.append(f"{line['position_std']:g} m off, {100 * line['wrong']:g} % wrong")
            summary[f"{line['method']}, {', '.join(kind)}"] = (
                f"{line['rmse']:.2f} / {line['median']:.2f} / {line['p90']:.2f} m, "
                f"{100 * line['beyond_10']:.1f} %"
            )
    title = f"{out}: medians over layouts of RMSE / median / 90 %, and share beyond 10 m"
    print_table(title, summary)


def _plain_summary(line: dict) -> dict[str, str]:
    """Tell what a part measured that locates nothing: its names, then its numbers."""
    names = [str(v) for n, v in line.items() if isinstance(v, str) and n != "part"]
    levels = [f"{line[name]:g} {unit}" for name, unit in _UNITS.items() if name in line]
    if "position_std" in line:
        levels.append(f"{line['position_std']:g} m off")
    skip = {*_UNITS, "position_std", "layouts", "paths"}
    numbers = [
        f"{name.replace('_', ' ')} {value:.3g}"
        for name, value in line.items()
        if isinstance(value, int | float) and name not in skip
    ]
    return {", ".join([line["part"], *names, *levels]): ", ".join(numbers)}
