"""`echoscape channel`: from tracks or from ray-traced paths to a channel over time.

Takes a folder that `echoscape track` wrote, or a ray-traced table along a route.
Gives a file of coefficients and delays, of an OFDM grid, of statistics.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from echoscape.cli.channel_outputs import check_outputs, write_outputs
from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import Numbers, read_range, read_triple

if TYPE_CHECKING:
    import numpy as np

    from echoscape.channel_model import Motion
    from echoscape.channel_model.turning import Turning
    from echoscape.scene import PlanarArray

_LARGEST = 2**31  # bytes of coefficients
_PART = 256  # samples made at once, at least


def channel(
    source: Path,
    /,
    *,
    carrier: float,
    out: Path | None = None,
    grid: Path | None = None,
    statistics: Path | None = None,
    times: Numbers | None = None,
    rate: Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))] = 250.0,
    transmit: str = "1x1",
    receive: str = "1x1",
    form: Literal["images", "bounces"] = "images",
    rays: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = 1,
    angle_spread: float = 0.05,
    delay_spread: float = 2e-9,
    diffuse: float = 0.0,
    targets: Path | None = None,
    type: str = "constant",
    types: Path | None = None,
    cross_section: float = 10.0,
    transmit_antenna: str | None = None,
    receive_antenna: str | None = None,
    transmit_look: Numbers | None = None,
    receive_look: Numbers | None = None,
    polarised: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    rician: float | None = None,
    random_phases: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    squint: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    subcarriers: Annotated[
        int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))
    ] = 64,
    spacing: Annotated[
        float, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))
    ] = 120e3,
    window: float | None = None,
    station: Numbers | None = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a channel of tracked anchors or traced paths, evolved exactly at any rate in between.

    Channel, grid, statistics: one at least is asked.

    Args:
        source: Folder with tracks.parquet and user.parquet, or a ray-traced table along a route
            (.npz), whose Jones matrices are kept where it has them.
        carrier: Carrier frequency [Hz].
        out: Channel to write: .npz or .mat, arrays as Sionna has them, or .hdf5, which quadriga-lib
            reads.
        grid: OFDM grid to write, .npz: the response on every subcarrier at every time, as Sionna's
            h_freq.
        statistics: Table to write, .json: correlation over time and frequency, distance between
            windows, level crossings and fades.
        times: First and last time, such as 60,80 [s]; the whole track if not given.
        rate: Samples of the channel per second [Hz].
        transmit: Rows and columns of the station's array, half a wavelength apart, such as 8x8.
        receive: Rows and columns of the user's array.
        form: What a ray is: images that stand still, exact for walls; or the paper's bounces, two
            legs to first and last bounce and a virtual delay, for tracks of --filter paper, of
            --mesh, and for tables with vert.
        rays: Rays of each cluster; 1 leaves every path alone.
        angle_spread: Spread of a cluster's azimuths at both ends, and 0.4 times that of its zeniths
            [rad].
        delay_spread: Spread of a cluster's delays [s].
        diffuse: Share of each cluster's power in a diffuse part four times as wide and as late.
        targets: Table of moving scatterers, as for echoscape sense: each of their points makes a
            path from the station to the user.
        type: Type of targets whose row says none, as for echoscape sense.
        types: TOML file of further types.
        cross_section: Radar cross-section of the type constant [m^2].
        transmit_antenna: Pattern and polarisation of the station's elements, such as tr38901,cross:
            isotropic, dipole, tr38901 or a table of azimuth, zenith [rad], theta_re and perhaps
            theta_im, phi_re, phi_im; then V, H, VH or cross.
        receive_antenna: The same of the user's; isotropic,V if only the other one is given.
        transmit_look: Where the station's array looks: azimuth, and tilt below the horizon, such as
            0.5,0.1 [rad].
        receive_look: How the user holds its array: bearing, downtilt and slant, such as 0.5,0,0
            [rad]; or motion, to look where it goes.
        polarised: Draw what each reflection does to polarisation, or take the ray tracer's where
            the table has A_re and A_im; elements are pairs, vertical before horizontal, unless
            antennas are given.
        rician: Rician factor: straight way over all others, at instants in sight; as measured if
            not given [dB].
        random_phases: Draw a phase for each reflection of tracks; for --polarised it is drawn
            anyway.
        squint: Give every pair of antennas delays of its own, which matter where the bandwidth is
            no small part of the carrier over the array's length in wavelengths.
        subcarriers: Subcarriers of --grid and --statistics.
        spacing: Distance between them [Hz].
        window: Length of the windows that --statistics compares; a twentieth of the time if not
            given [s].
        station: Position of the station, for a table that has no tx_pos, or for tracks of a user
            who never detected it [m].
        seed: Seed of everything random; same seed, same result.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.checks import InputError

    between = read_range(times, "--times", "s")
    if not 1e6 < carrier < 1e15:
        raise InputError(f"--carrier must be a frequency in Hz, such as 28e9; got {carrier:g}")
    check_outputs(out, grid, statistics)
    arrays = (
        look_at(read_array(transmit, "--transmit"), transmit_look),
        read_array(receive, "--receive"),
    )
    import jax
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model import (
        ChannelRealization,
        Clusters,
        add_moving_scatterers,
        clustered,
        move,
        realize,
    )
    from echoscape.channel_model.antenna_file import read_antenna
    from echoscape.channel_model.coefficient import Polarisation
    from echoscape.channel_model.rician import rician_factor, with_rician_factor
    from echoscape.channel_model.sensing import random_phases as draw_phases
    from echoscape.channel_model.target_file import read_routes, read_types

    position = read_triple(station, "--station", "m")
    made_of, motion, extra = read_rays(source, between, carrier, position, form)
    if form == "bounces" and (rays > 1 or targets is not None):
        raise InputError("--rays and --targets need --form images, whose points make clusters")
    if diffuse and rays == 1:
        raise InputError("--diffuse is a share of clusters; give their --rays, such as 20, too")
    if rays > 1:
        inside = Clusters(rays, angle_spread, 0.4 * angle_spread, angle_spread, delay_spread,
                          diffuse)  # fmt: skip
        made_of = clustered(made_of, motion, inside, key=jax.random.key(seed + 2))
    if targets is not None:
        known = {} if types is None else read_types(types)
        moving = read_routes(targets, type, known, cross_section)
        made_of = add_moving_scatterers(made_of, list(moving.values()), motion, carrier, between)
    if random_phases:
        if made_of.jones is not None or polarised:
            raise InputError(
                "--random-phases is for tracks without --polarised and --rays: a ray-traced table "
                "has phases of its own, and these draw them; leave one of them out"
            )
        made_of = draw_phases(made_of, key=jax.random.key(seed + 1))
    if rician is not None:
        if not -60 <= rician <= 60:
            raise InputError(f"--rician must lie between -60 and 60, in dB; got {rician:g}")
        made_of = with_rician_factor(made_of, motion, rician)
    first, last = between or (float(motion.time[0]), float(motion.time[-1]))
    count = int(np.floor((last - first) * rate)) + 1
    antennas = None
    if transmit_antenna or receive_antenna:
        sending, receiving = transmit_antenna or "isotropic", receive_antenna or "isotropic"
        antennas = read_antenna(sending), read_antenna(receiving)
    turning = None if receive_look is None else read_turning(receive_look, motion)
    pairs = 4 if polarised else 1
    if antennas is not None:
        pairs = len(antennas[0].slant) * len(antennas[1].slant)
    paths = made_of.gain_db.shape[1]
    entries = paths * (1.5 if squint else 1.0)
    if grid is not None or statistics is not None:
        entries += subcarriers
    size = 16 * pairs * count * arrays[0].elements * arrays[1].elements * entries
    if size > _LARGEST:
        raise InputError(
            f"this channel has {size / 2**30:.1f} GiB of coefficients; take shorter --times, a "
            "lower --rate, smaller arrays or fewer --subcarriers"
        )
    when = jnp.asarray(first + np.arange(count) / rate)
    change = Polarisation() if polarised else None
    stage = f"{count} samples of {paths} paths"
    with progress(stage, quiet) as tell:
        step, whole = max(_PART, -(-count // 16)), []
        for low in range(0, count, step):
            tell(low, count, stage if low else f"{stage}, compiling")
            rows = np.minimum(np.arange(low, low + step), count - 1)
            one = realize(
                made_of, motion, when[rows], carrier, *arrays, change, antennas=antennas,
                turning=turning, squint=squint, key=jax.random.key(seed),
            )  # fmt: skip
            parts = one.coefficient, one.delay, *((one.element_delay,) if squint else ())
            parts = [np.asarray(part) for part in parts]
            whole = whole or [np.empty((count, *part.shape[1:]), part.dtype) for part in parts]
            for all_of_it, part in zip(whole, parts):
                all_of_it[low : low + step] = part[: count - low]
        late = jnp.asarray(whole[2]) if squint else None
        made = ChannelRealization(jnp.asarray(whole[0]), jnp.asarray(whole[1]), when, carrier, late)
        tell(0, 1, "writing")
        user = np.asarray(jax.vmap(lambda t: move(motion, t)[0])(when))
        extra |= write_outputs(
            made, out, grid, statistics, subcarriers=subcarriers, spacing=spacing, window=window,
            station=np.asarray(made_of.station), user=user,
        )  # fmt: skip
    summary = {
        "samples": count,
        "paths": paths,
        "antennas": f"{made.coefficient.shape[1]} by {made.coefficient.shape[2]}",
        "mean power [dB]": round(
            float(10 * jnp.log10(jnp.mean(jnp.sum(jnp.abs(made.coefficient) ** 2, axis=-1)))), 2
        ),
        **extra,
    }
    factor = np.asarray(rician_factor(made_of, motion, when))
    if factor.any():
        seen = np.median(factor[factor > 0])
        summary["Rician factor in sight, median [dB]"] = round(float(10 * np.log10(seen)), 2)
    if json:
        print_json(summary)
    else:
        print_table(
            str(out or grid or statistics), {name: str(value) for name, value in summary.items()}
        )


def read_rays(
    source: Path,
    between: tuple[float, float] | None,
    carrier: float,
    station: "np.ndarray | None",
    form: str = "images",
) -> "tuple[Any, Motion, dict[str, Any]]":
    """Read the rays of a folder of tracks or of a ray-traced table, and the user's motion."""
    import numpy as np

    from echoscape import channel_model as model
    from echoscape.checks import InputError

    def within(instants: np.ndarray) -> None:
        first, last = between or (instants[0], instants[-1])
        if first < instants[0] - 1e-9 or last > instants[-1] + 1e-9:
            raise InputError(
                f"--times must lie within the track, from {instants[0]:g} to {instants[-1]:g} s; "
                f"got {first:g},{last:g}"
            )

    if source.suffix == ".npz":
        from echoscape.channel_model.path_rays import departure_error
        from echoscape.propagation.traced_route import read_traced_route

        route = read_traced_route(source, carrier, station)
        within(route.time)
        if form == "bounces":
            return model.bounce_rays_from_paths(route, between), model.motion_of(route), {}
        rays = model.rays_from_paths(route, between)
        wrong = round(float(np.degrees(departure_error(route, rays, between))), 4)
        return rays, model.motion_of(route), {"departure error, 99 % below [degree]": wrong}
    motion = model.read_motion(source / "user.parquet")
    instants = np.asarray(motion.time)
    within(instants)
    chosen = between or (float(instants[0]), float(instants[-1]))
    table = source / "tracks.parquet"
    if form == "bounces":
        return model.bounce_rays_from_tracks(table, motion, chosen, station), motion, {}
    return model.rays_from_tracks(table, instants, chosen, station), motion, {}


def read_array(text: str, option: str):
    """Read an array of rows and columns such as ``8x8``."""
    from echoscape.checks import InputError
    from echoscape.scene import PlanarArray

    try:
        rows, columns = (int(part) for part in text.lower().split("x"))
        return PlanarArray(rows, columns)
    except ValueError:
        raise InputError(f"{option} needs rows and columns such as 8x8; got {text!r}") from None


def look_at(array: "PlanarArray", text: str | None) -> "PlanarArray":
    """Turn an array to where ``--transmit-look`` says."""
    import dataclasses

    from echoscape.checks import InputError

    if text is None:
        return array
    try:
        azimuth, tilt = (float(part) for part in text.split(","))
    except ValueError:
        azimuth = tilt = math.nan
    if not (abs(azimuth) <= 2 * math.pi and abs(tilt) <= 0.5 * math.pi):
        raise InputError(
            "--transmit-look needs azimuth within 2 pi and tilt within pi/2, such as 0.5,0.1, in "
            f"rad; got {text!r}"
        )
    return dataclasses.replace(array, azimuth=azimuth, tilt=tilt)


def read_turning(text: str, motion: "Motion") -> "Turning":
    """Read how the user holds its array: three angles, or ``motion``."""
    import numpy as np

    from echoscape.channel_model.turning import fixed_turning, turn_along
    from echoscape.checks import InputError

    if text == "motion":
        return turn_along(motion)
    angle = read_triple(text, "--receive-look (or motion)", "rad")
    assert angle is not None
    if np.abs(angle).max() > 2 * math.pi:
        raise InputError(
            f"--receive-look needs angles within 2 pi, in rad; got {text}; are these degrees?"
        )
    return fixed_turning(angle)
