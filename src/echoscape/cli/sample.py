"""`echoscape echoes sample` and `echoscape estimate`: samples of echoes, and echoes of samples.

Takes a site and places, or a file of samples.
Gives a file of samples, or of echoes.
"""

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_line,
    print_warning,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_place, check_table

_Count = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))]
_Flag = Annotated[bool, cyclopts.Parameter(negative="")]


def sample(
    site: Path,
    /,
    *,
    targets: Path,
    out: Path,
    station: str | None = None,
    receiver: str | None = None,
    subcarriers: _Count = 128,
    spacing: float | None = None,
    symbols: _Count = 1,
    snr: float | None = None,
    power: float | None = None,
    noise_figure: float | None = None,
    cross_section: float = 10.0,
    paths: _Count = 5,
    line_of_sight: _Flag = False,
    reciprocal: _Flag = False,
    together: _Flag = False,
    clutter: Annotated[bool, cyclopts.Parameter(negative="--no-clutter")] = True,
    coupling: float | None = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sample the echoes of targets in a site of point scatterers as a MIMO-OFDM radar does.

    Args:
        site: TOML file of stations with arrays, and of scatterers.
        targets: Places as .parquet or .csv with the columns x, y, z [m] and perhaps target.
        out: File of samples to write, .npz.
        station: Station that transmits, and receives if no receiver is given; the first one if not
            given.
        receiver: Another station that receives.
        subcarriers: Subcarriers that carry pilots.
        spacing: Distance between those subcarriers [Hz]; if not given, the site's bandwidth over
            their number, or less where echoes of the site would fold.
        symbols: Symbols averaged, where the noise comes from the power.
        snr: Integrated signal-to-noise ratio of the mean echo [dB]; from the power if not given.
        power: Transmitted power, 30 if not given [dBm].
        noise_figure: Of the receiver, 7 if not given [dB].
        cross_section: Radar cross-section of every target [m^2].
        paths: Strongest one-way paths of each target.
        line_of_sight: Let the stations see the targets.
        reciprocal: Only echoes that return the way they came.
        together: All targets in one snapshot instead of one each.
        clutter: Whether the scatterers' own echoes are in the samples; the file holds the empty
            scene too, so that they can be taken off.
        coupling: Power gain from each transmitting to each receiving antenna [dB]; none if not
            given.
        seed: Seed of everything random.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    import jax

    from echoscape.checks import InputError
    from echoscape.files.archive import check_archive
    from echoscape.reports.sample_file import write_samples
    from echoscape.reports.target_table import read_targets
    from echoscape.scene import Site
    from echoscape.signals import Waveform, sample_scene
    from echoscape.signals.scene_echoes import fitting_spacing

    check_archive(out)
    check_place(out)
    if snr is not None and (power is not None or noise_figure is not None):
        raise InputError("give either --snr or --power and --noise-figure, not both")
    if not 0 < cross_section < float("inf"):
        raise InputError(
            f"--cross-section must be finite and above zero, in m^2; got {cross_section:g}"
        )
    world = Site.from_toml(site)
    number, place = read_targets(targets)
    sender = 0 if station is None else world.station_index(station)
    listener = sender if receiver is None else world.station_index(receiver)
    each = (
        spacing
        if spacing is not None
        else fitting_spacing(world, place, subcarriers, sender, listener)
    )
    if spacing is None and not json:
        print_line(f"pilots every {1e-3 * each:.6g} kHz: the longest echo of this site fits")
    with progress(f"echoes of {len(place)} targets, compiling", quiet) as tell:
        made = sample_scene(
            world,
            Waveform(subcarriers, each, symbols),
            place,
            key=jax.random.key(seed),
            number=number,
            transmit=sender,
            receive=listener,
            together=together,
            cross_section=cross_section,
            paths=paths,
            line_of_sight=line_of_sight,
            reciprocal=reciprocal,
            snr_db=snr,
            power_dbm=30.0 if power is None else power,
            noise_figure_db=7.0 if noise_figure is None else noise_figure,
            clutter=clutter,
            coupling_db=coupling,
        )
        tell(1, 2, "writing")
        write_samples(made, out)
    count, received, sent, tones = made.received.shape
    summary = {
        "targets": len(place),
        "snapshots": count,
        "receive_antennas": received,
        "transmit_antennas": sent,
        "subcarriers": tones,
        "unambiguous_delay": made.waveform.unambiguous_delay,
        "noise_variance": made.noise_variance,
    }
    if json:
        print_json(summary)
        return
    print_line(
        f"{out}: {count} snapshots of {len(place)} targets, {received} x {sent} antennas and "
        f"{tones} subcarriers over {1e-6 * made.waveform.bandwidth:g} MHz; delays repeat after "
        f"{1e9 * made.waveform.unambiguous_delay:.0f} ns"
    )


def estimate(
    samples: Path,
    /,
    *,
    out: Path,
    method: Literal["greedy", "music", "esprit", "fft"] = "greedy",
    settings: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    most: _Count | None = None,
    sources: _Count | None = None,
    order: Literal["cfar", "bic"] | None = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Estimate the echoes in samples: their directions, delays and powers, with deviations.

    Args:
        samples: Samples as .npz.
        out: File of echoes to write, .parquet or .csv.
        method: How: one echo after the other off the grid, subspaces of smoothed samples, or
            peaks of a spectrum; `echoscape methods estimate` lists their settings.
        settings: Setting of the method such as false_alarm=0.001; may be given several times.
        most: The same as --set most=, most echoes of a snapshot.
        sources: The same as --set sources=, how many echoes each snapshot has.
        order: The same as --set order=, how greedy decides on their number.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.cli.settings import make_method
    from echoscape.estimation import METHODS
    from echoscape.estimation import estimate as estimate_echoes
    from echoscape.reports import write_echoes
    from echoscape.reports.sample_file import echoes_from_estimates, read_samples

    check_table(out, "echoes")
    if sources is not None and method not in ("music", "esprit"):
        raise InputError(f"--sources is for music and esprit; {method} finds their number itself")
    if order is not None and method != "greedy":
        raise InputError(f"--order is for greedy; {method} has its own way")
    short = {"most": most, "sources": sources, "order": order}
    words = [f"{name}={value}" for name, value in short.items() if value is not None]
    how = make_method(METHODS, method, [*words, *(settings or [])])
    if sources is not None and sources > how.most:
        raise InputError(
            f"--sources {sources} is more than the {how.most} echoes of --most; give more there too"
        )
    received = read_samples(samples)
    with progress("estimating", quiet) as tell:
        found = estimate_echoes(received, method=how, progress=tell)
    write_echoes(echoes_from_estimates(received, found), out)
    counts = found.valid.sum(axis=1)
    summary = {
        "snapshots": len(counts),
        "echoes": int(counts.sum()),
        "without_echo": int((counts == 0).sum()),
        "noise_variance": received.noise(),
    }
    if json:
        print_json(summary)
        return
    print_line(
        f"{out}: {summary['echoes']} echoes in {summary['snapshots']} snapshots, "
        f"{summary['without_echo']} of them without any"
    )
    if summary["echoes"] == 0:
        print_warning(
            "no echo stands out of the noise; average more symbols, send more power, or simulate "
            "with a stated ratio, as by echoscape echoes sample --snr 15"
        )
