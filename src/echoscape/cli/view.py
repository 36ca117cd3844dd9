"""`echoscape view`: results in three dimensions, on a page of this machine or in one file.

Takes maps and files of results.
Gives a page until Ctrl-C, or a file.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import Quiet, print_line, print_warning, progress, use_double_precision
from echoscape.cli.options import Port, refuse_both
from echoscape.cli.reports import read_site


def view(
    map_folder: Annotated[Path | None, cyclopts.Parameter(name="MAP")] = None,
    /,
    *,
    reports: Path | None = None,
    fixes: Path | None = None,
    echoes: Path | None = None,
    tracks: tuple[Path, ...] = (),
    image: Path | None = None,
    bound: Path | None = None,
    site: Path | None = None,
    mesh: Path | None = None,
    title: str | None = None,
    export: Path | None = None,
    host: str = "127.0.0.1",
    port: Port | None = None,
    quiet: Quiet = False,
) -> None:
    """Show maps, reports, fixes, tracks, images and bounds in three dimensions, until Ctrl-C.

    Open the printed address in a browser.  Pick a report, a static point, a fix or a place: a place
    shows what the map predicts there.  The scene as JSON is at the same address, for requests that
    accept application/json.

    Args:
        map_folder: Folder of maps that `echoscape map fit` wrote.
        reports: Users' reports, .parquet or .csv.
        fixes: Fixes that `echoscape locate` wrote.
        echoes: Echoes that the fixes were made of; those of a picked target are drawn.
        tracks: Tables of `echoscape track` or `echoscape follow`; may be given several times.
        image: Image that `echoscape image` wrote.
        bound: Bounds that `echoscape bound` wrote, on a grid.
        site: TOML file of the site: stations with their arrays, and its mesh.
        mesh: Buildings as .npz or .obj.
        title: What the page is called.
        export: Write one file that needs no server instead: .html, or .json for the scene alone.
        host: Address to listen at; this machine alone by default.
        port: Port; 8760 if not given, 0 for any that is free.
        quiet: Show no progress.
    """
    refuse_both(export=export, port=port)
    use_double_precision()
    from echoscape.channel_map import load_maps
    from echoscape.imaging.voxel_image import read_image
    from echoscape.reports import read_echoes, read_fixes, read_reports
    from echoscape.scene.mesh import read_mesh
    from echoscape.viewer import Place, Results, make_scene, make_server, write_page
    from echoscape.viewer.tables import read_bounds, read_track_table

    place_ = read_site(site)
    walls = mesh or (None if place_ is None or place_.mesh is None else Path(place_.mesh))
    with progress("reading", quiet):
        results = Results(
            maps={} if map_folder is None else load_maps(map_folder),
            reports=None if reports is None else read_reports(reports, place_),
            fixes=None if fixes is None else read_fixes(fixes),
            echoes=None if echoes is None else read_echoes(echoes),
            tracks=[read_track_table(each) for each in tracks],
            image=None if image is None else read_image(image),
            bound=None if bound is None else read_bounds(bound),
            site=place_,
            mesh=None if walls is None else read_mesh(walls),
        )
    place = Place(results)
    first = next((each for each in (map_folder, reports, image, *tracks, site, mesh) if each), None)
    name = title or (f"Echoscape: {first.stem}" if first else "Echoscape")
    if export is not None:
        with progress("what the page shows", quiet) as tell:
            scene = make_scene(results, name, place)
            tell(1, 2, "writing")
            size = write_page(scene, export)
        print_line(f"{export}: {size / 1e6:.2f} MB")
        return
    scene = make_scene(results, name, place, live=True)
    with make_server(
        scene, place if results.maps else None, host, 8760 if port is None else port
    ) as server:
        if host not in ("127.0.0.1", "::1", "localhost"):
            print_warning("other machines can read this page, and nothing asks who they are")
        print_line(f"{name} at http://{host}:{server.server_address[1]}/")
        server.serve_forever()
