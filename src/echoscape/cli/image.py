"""`echoscape image`: see the environment from users' pilots.

Takes a file of snapshots and a grid of voxels.
Gives a file that holds the image, a summary, and figures.
"""

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_table,
    print_warning,
    progress,
    use_double_precision,
)
from echoscape.cli.options import Numbers, check_place, deprecated_value

for _old, _new in {
    "bits": "visibility-gamp",
    "geometry": "occlusion-aware-gamp",
    "ignore": "ignore-occlusion",
    "free": "unstructured-mask",
    "wideband": "noncoherent-gamp",
}.items():
    deprecated_value("--solver", old=_old, new=_new)


def image(
    snapshots: Path,
    /,
    *,
    origin: Numbers,
    shape: str,
    edge: float,
    out: Annotated[Path, cyclopts.Parameter(name=["--out", "-o"])],
    solver: str = "auto",
    settings: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    unknown: str | None = None,
    prior: Literal["points", "surface"] = "points",
    coefficients: Literal["real", "complex"] = "real",
    radius: float | None = None,
    figure: Path | None = None,
    slices: Path | None = None,
    mesh: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Image voxels from the pilots that stations received, with occlusion taken into account.

    Args:
        snapshots: File .npz of pilots as received, see docs/formats.md.
        origin: Corner of the first voxel such as 0,0,0, in m.
        shape: Voxels along x, y and z such as 16,16,8.
        edge: Edge of a voxel, in m.
        out: File .npz to write the image to.
        solver: Name of the method; `echoscape methods image` lists all with their settings. With
            auto the deviations stated in the snapshots and the bandwidth decide.
        unknown: What is not known of the users, such as gain,phase,position,clock.
        prior: What to expect, single points or the surfaces of bodies such as boxes and walls; the
            latter chooses noncoherent-points with neighbour=2 if the solver is auto.
        settings: Setting of the solver such as iterations=50; may be given several times.
        coefficients: Whether scattering coefficients are real or complex.
        radius: How close to a segment an occupied voxel hides it, in m; half an edge by default.
        figure: File .png or .pdf for a picture in three dimensions.
        slices: File .png or .pdf for a picture of every level.
        mesh: File .ply or .obj for the surface of what is seen; .ply has its uncertainty too.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.cli.settings import make_method, option_name
    from echoscape.files.archive import check_archive
    from echoscape.imaging import SOLVERS, read_snapshots, write_image
    from echoscape.imaging import image as make_image
    from echoscape.imaging.choice import NEIGHBOUR, choose_solver, with_unknowns
    from echoscape.imaging.surface import check_surface_name, surface_of, write_surface
    from echoscape.imaging.voxel_image import LEAST_EXPLAINED
    from echoscape.scene.voxel_grid import VoxelGrid

    check_archive(out)
    for path in (figure, slices):
        if path is not None and path.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise InputError(f"{path} must end in .png, .pdf or .svg, which tells the format")
    if mesh is not None:
        check_surface_name(mesh)
    for path in filter(None, (out, figure, slices, mesh)):
        check_place(path)
    if prior == "surface" and solver != "auto":
        raise InputError(
            "--prior surface chooses the solver; leave out --solver, or use --solver "
            "noncoherent-points --set neighbour=2"
        )
    corner, counts = _three(origin, "--origin", float), _three(shape, "--shape", int)
    try:
        grid = VoxelGrid(corner, counts, edge)
    except ValueError as error:
        raise InputError(str(error)) from None
    names = [name.strip() for name in (unknown or "").split(",") if name.strip()]
    samples, why = with_unknowns(read_snapshots(snapshots), names), None
    words = list(settings or [])
    if solver == "auto":
        method, why = choose_solver(samples, names, bodies=prior == "surface")
        solver = option_name(type(method))
        if prior == "surface":
            words = [f"neighbour={NEIGHBOUR:g}", *words]
    method = make_method(SOLVERS, solver, words)
    with progress("imaging", quiet) as tell:
        found = make_image(
            samples,
            grid,
            solver=method,
            unknown=names,
            radius=radius,
            is_complex=coefficients == "complex",
            progress=tell,
        )
    write_image(found, out)
    if mesh is not None:
        write_surface(surface_of(found), mesh)
    if figure is not None or slices is not None:
        from echoscape.plotting.voxel_image import draw_image, draw_slices

        if figure is not None:
            draw_image(
                found,
                figure,
                user_position=samples.user_position,
                station_position=samples.antenna_position.mean(1),
            )
        if slices is not None:
            draw_slices(found, slices)
    certificate = found.certificate
    summary = {
        "voxels": grid.voxels,
        "occupied": int(found.occupied().sum()),
        "unseen": int(found.unseen.sum()),
        "misfit": certificate.misfit,
        "misfit_limit": certificate.limit,
        "certified": certificate.holds,
        "noise_variance": found.noise_variance,
        "noise_known": certificate.noise_known,
        "least_log_odds": certificate.least_log_odds,
        "explained": certificate.explained,
        "iterations": found.iterations,
        "status": found.status.name.lower(),
        "reason": found.status.advice,
        "solver": solver,
        "model_error": found.model_error,
    }
    if json:
        print_json(summary)
        return
    trust = f"misfit {certificate.misfit:.3f}, noise alone explains {certificate.limit:.3f}"
    if certificate.misfit <= certificate.limit and not certificate.holds:
        trust += f"; but the least sure voxel has log-odds of {certificate.least_log_odds:.1f}"
    if not certificate.noise_known:
        trust = "none: the noise was not given and is learnt from the residual itself"
    rows = {
        "solver": solver if why is None else f"{solver} ({why})",
        "occupied": f"{summary['occupied']} of {grid.voxels} voxels",
        "unseen": f"{summary['unseen']} voxels out of everyone's sight",
        "certificate": f"{'holds' if certificate.holds else 'does not hold'} ({trust})",
        "iterations": f"{found.iterations} ({summary['status']})",
    }
    print_table(str(out), rows)
    if certificate.explained < LEAST_EXPLAINED:
        print_warning(
            f"the image explains {100 * certificate.explained:.0f} % of what was received beyond "
            "noise: are the grid, users and antennas given in one frame, in m, and the frequency "
            "in Hz?"
        )
    elif certificate.noise_known and certificate.misfit > certificate.limit:
        print_warning("the image leaves more than noise unexplained; do not trust it in detail")


def _three(text: str, option: str, kind: type) -> tuple:
    from echoscape.checks import InputError

    try:
        found = tuple(kind(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != 3:
        what = "numbers such as 0,0,0, in m" if kind is float else "counts such as 16,16,8"
        raise InputError(f"{option} needs three {what}; got {text!r}")
    return found
