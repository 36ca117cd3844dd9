"""`echoscape sense`: from static points and moving targets to the sensing channel over time.

Takes a site, a folder of maps or a folder of tracks, and a table of targets.
Gives a file of coefficients, of samples, of echoes.
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
from echoscape.cli.options import Numbers, check_deviations, read_range
from echoscape.cli.sense_scene import (
    check_outputs,
    choose_arrays,
    choose_times,
    draw_presence,
    find_sight,
    make_empty,
    read_scene,
)

_Count = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))]
_Share = Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0))]
_Flag = Annotated[bool, cyclopts.Parameter(negative="")]
_LARGEST = 2**31  # bytes of coefficients, or of samples


def sense(
    source: Path,
    /,
    *,
    targets: Path,
    out: Path | None = None,
    samples: Path | None = None,
    echoes: Path | None = None,
    truth: Path | None = None,
    carrier: float | None = None,
    station: Numbers | None = None,
    receiver: Numbers | None = None,
    times: Numbers | None = None,
    rate: Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))] = 1.0,
    type: str = "constant",
    types: Path | None = None,
    cross_section: float = 10.0,
    fluctuating: _Flag = False,
    transmit: str | None = None,
    receive: str | None = None,
    line_of_sight: Annotated[bool, cyclopts.Parameter(negative="--no-line-of-sight")] = True,
    random_phases: _Flag = False,
    mesh: Path | None = None,
    strongest: _Count = 6,
    clutter: Annotated[bool, cyclopts.Parameter(negative="--no-clutter")] = True,
    coupling: float | None = None,
    subcarriers: _Count = 128,
    spacing: float | None = None,
    snr: float | None = None,
    power: float = 30.0,
    noise_figure: float = 7.0,
    together: _Flag = False,
    link_budget: Path | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    missed: _Share = 0.0,
    false: Annotated[_Share, cyclopts.Parameter(negative="")] = 0.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make the sensing channel of moving targets by way of static points.

    A target is reached along the rays that `echoscape channel` would give a user in its place, and
    left along the rays to the receiving station.  Channel, samples, echoes: one at least is asked.

    Args:
        source: Site (.toml), folder of maps, or folder that echoscape track wrote.
        targets: Table of x, y, z [m] and perhaps target, time [s], vx, vy, vz [m/s], heading [rad]
            and type; what echoscape follow or track wrote is one too.
        out: Channel to write, pair by pair of rays: .npz, .mat or .hdf5 as echoscape channel.
        samples: Samples to write, .npz, for echoscape estimate, locate and follow.
        echoes: Echoes to write, .parquet or .csv, for echoscape locate and follow.
        truth: Also write where the target of each number in samples or echoes was, .parquet or
            .csv, for echoscape score.
        carrier: Carrier frequency; the site's if not given [Hz].
        station: Name of the transmitting station; of tracks its position, if they have no track 0
            [m].
        receiver: Name of the receiving station, or its position [m]; the same one if not given.
        times: First and last time, such as 0,10 [s]; all that the targets' table has if not given.
        rate: Instants per second [Hz].
        type: Type of targets whose row says none: constant, uav-small, human, human-pattern,
            uav-large, vehicle, vehicle-points, agv, agv-points (TR 38.901, clause 7.9.2), or one of
            --types.
        types: TOML file of further types, with points that rotate or swing.
        cross_section: Radar cross-section of the type constant [m^2].
        fluctuating: Draw the log-normal part of TR 38.901's cross-sections and a phase for each
            pair of rays.
        transmit: Rows and columns of the transmitting array, half a wavelength apart, such as 8x8;
            the site's array, or 1x1, if not given.
        receive: Rows and columns of the receiving array; that of the station if not given.
        line_of_sight: Whether stations see the targets of a site; maps and tracks have the station
            among their points or not.
        random_phases: Give every reflection a phase of its own.
        mesh: Walls as .npz (vertices, faces) or .obj: they take the line of sight, and a target
            must not be inside a building.
        strongest: How many one-way rays of each target take part in --echoes, and the root of how
            many pairs of each in --out.
        clutter: Whether --samples hold what the static points send back without targets, in the
            array empty too, so that it can be taken off.
        coupling: Power gain from each transmitting to each receiving element; none if not given
            [dB].
        subcarriers: Subcarriers of --samples.
        spacing: Distance between them [Hz]; the site's bandwidth over their number, or what the
            longest echo allows, if not given.
        snr: Integrated signal-to-noise ratio of the mean echo of --samples [dB]; from the power if
            not given.
        power: Transmitted power [dBm].
        noise_figure: Of the receiver [dB].
        together: All targets in one snapshot of --samples instead of one each.
        link_budget: TOML file that decides which of --echoes are heard and how well; a 28 GHz small
            cell if neither this nor deviations are given.
        angle_std: Standard deviation of every angle of --echoes [rad].
        delay_std: Standard deviation of every delay of --echoes [s].
        missed: Share of --echoes that are lost for other reasons.
        false: Mean number of false echoes for each true one.
        seed: Seed of everything random.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError

    if out is None and samples is None and echoes is None:
        raise InputError("give at least one of --out, --samples and --echoes to write")
    check_outputs(out, samples, echoes, truth)
    check_deviations(angle_std, delay_std)
    fixed = (angle_std, delay_std)
    if link_budget is not None and fixed != (None, None):
        raise InputError("give either --link-budget or --angle-std and --delay-std, not both")
    if (angle_std is None) != (delay_std is None):
        raise InputError("give --angle-std [rad] and --delay-std [s] together, or neither of them")
    if truth is not None and together and echoes is not None:
        raise InputError(
            "--truth cannot number --samples of all targets --together and --echoes of each; write "
            "them one after the other"
        )
    between = read_range(times, "--times", "s")
    import jax
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model import sensing
    from echoscape.channel_model.channel_file import write_channel
    from echoscape.channel_model.sensing_echoes import (
        centres,
        list_echoes,
        sample_echoes,
        truth_table,
    )
    from echoscape.channel_model.target import motion_at
    from echoscape.channel_model.target_file import read_routes, read_types
    from echoscape.estimation import LinkBudget
    from echoscape.files.tabular import write_columns
    from echoscape.reports import write_echoes
    from echoscape.reports.sample_file import write_samples
    from echoscape.scene import PlanarArray
    from echoscape.signals import Waveform
    from echoscape.units import delay_of, wavelength_of

    known = {} if types is None else read_types(types)
    parts = 5
    with progress("reading", quiet) as tell:
        routes = read_routes(targets, type, known, cross_section)
        when = jnp.asarray(choose_times(routes, between, rate))
        scene = read_scene(source, station, receiver, carrier, np.asarray(when))
        arrays = choose_arrays(scene, transmit, receive)
        keys = jax.random.split(jax.random.key(seed), 6)
        ends = scene.rays
        if line_of_sight and source.suffix == ".toml":
            ends = [sensing.add_line_of_sight(rays, wavelength_of(scene.carrier)) for rays in ends]
        if random_phases:
            ends = [sensing.random_phases(rays, key=keys[0]) for rays in ends]
        ends = [ends[0], ends[0] if scene.alone else ends[-1]]
        moving = list(routes.values())
        place = np.stack([np.asarray(motion_at(t, when)[0])[:, 0] for t in centres(moving)], axis=1)
        sight = (
            None if mesh is None else find_sight(mesh, ends, place, list(routes), np.asarray(when))
        )
        present = draw_presence(scene, place, keys[5])
        if present is not None:
            sight = present if sight is None else (sight[0] * present[0], sight[1] * present[1])
        tell(1, parts, "compiling")
        key = keys[1] if fluctuating else None
        factors = sensing.sense(
            ends[0], ends[1], moving, when, scene.carrier, *arrays, sight=sight, key=key
        )
        rays = ends[0].point.shape[0]
        summary: dict[str, Any] = {
            "instants": len(when),
            "targets": len(moving),
            "scattering points": factors.target.shape[0],
            "rays each way": rays,
            "mean power [dB]": round(
                float(10 * jnp.log10(jnp.mean(jnp.sum(factors.power, axis=(1, 2, 3))))), 2
            ),
            "largest Doppler [Hz]": round(
                float(jnp.max(jnp.where(factors.power > 0, jnp.abs(factors.doppler), 0.0))), 2
            ),
        }
        if out is not None:
            tell(2, parts, "writing the channel")
            most = min(strongest, rays) ** 2 * factors.target.shape[0]
            sensing.check_size(len(when), *arrays, most, "paths", _LARGEST)
            made = sensing.echo_realization(factors, most)
            receiving = np.broadcast_to(np.asarray(ends[1].station), (len(when), 3))
            write_channel(made, out, station=np.asarray(ends[0].station), user=receiving)
            summary["paths"] = made.delay.shape[1]
        if samples is not None:
            tell(3, parts, "sampling")
            sensing.check_size(len(when), *arrays, subcarriers * (1 if together else len(moving)),
                               "subcarriers", _LARGEST)  # fmt: skip
            longest = float(jnp.max(factors.out.length) + jnp.max(factors.back.length))
            widest = 1 / (1.1 * float(delay_of(longest)))
            if spacing is None:
                spacing = min(widest, (scene.bandwidth or np.inf) / subcarriers)
            waveform = Waveform(subcarriers, spacing)
            empty = make_empty(
                ends, np.asarray(when), scene, arrays, waveform, clutter, coupling, keys[2]
            )
            found = sample_echoes(
                factors, waveform, arrays, scene.names, together=together, empty=empty, snr_db=snr,
                power_dbm=power, noise_figure_db=noise_figure, key=keys[3],
            )  # fmt: skip
            write_samples(found, samples)
            summary["snapshots"] = len(found.time)
            summary["bandwidth [MHz]"] = round(1e-6 * waveform.bandwidth, 3)
        if echoes is not None:
            tell(4, parts, "making echoes")
            budget = None if angle_std is not None else LinkBudget()
            if link_budget is not None:
                budget = LinkBudget.from_toml(link_budget)
            single = PlanarArray()
            middle = sensing.sense(ends[0], ends[1], centres(moving), when, scene.carrier, single,
                                   single, sight=sight)  # fmt: skip
            stand = np.stack([np.asarray(each.station) for each in ends])
            listed = list_echoes(
                factors, middle, place, scene.names, stand, budget=budget, angle_std=angle_std,
                delay_std=delay_std, strongest=strongest, missed=missed, false=false, key=keys[4],
            )  # fmt: skip
            write_echoes(listed.echoes, echoes)
            summary["echoes"] = int(listed.echoes.estimates.valid.sum())
            summary["echoes possible"] = int(listed.possible.sum())
        if truth is not None:
            write_columns(truth_table(np.asarray(when), place, together), truth, "targets 1")
    if json:
        print_json(summary)
    else:
        print_table(str(out or samples or echoes), {n: str(v) for n, v in summary.items()})
