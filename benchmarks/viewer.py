"""How soon does a page of a whole city appear, and how fast is it drawn?

40,000 triangles, 30,000 voxels and 10,000 reports in one file, opened by chromium with software
rendering, as on a machine without a graphics card: size of the file, time from the start of the
script to the first frame, and time of a frame with everything shown.

    python benchmarks/viewer.py [--triangles 40000] [--voxels 30000] [--reports 10000]
"""

import argparse
import pathlib
import shutil
import tempfile

import numpy as np

from echoscape.viewer.page import write_page
from echoscape.viewer.scene import Column, ReportMarks, Triangles, ViewerScene, VoxelMarks, flat

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def city(triangles, voxels, reports):
    """Lay out boxes, as many as have the triangles; voxels and reports at random."""
    rng = np.random.default_rng(0)
    houses = triangles // 10
    side = int(np.ceil(np.sqrt(houses)))
    spot = 30.0 * np.stack(np.unravel_index(np.arange(houses), (side, side)), axis=1)
    size = np.c_[rng.uniform(8, 24, (houses, 2)), rng.uniform(4, 30, houses)]
    unit = np.array([(b & 1, b >> 1 & 1, b >> 2) for b in range(8)], float)
    vertex = np.c_[spot, np.zeros(houses)][:, None] + unit * size[:, None]
    quads = [(4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]  # no floor
    face = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    face = 8 * np.arange(houses)[:, None, None] + face
    wide = 30.0 * side
    place = np.c_[rng.uniform(0, wide, (reports, 2)), np.full(reports, 1.5)]
    columns = [
        Column(name, "dB", flat(rng.normal(-100, 12, reports), 2)) for name in ("power", "spread")
    ]
    cell = rng.choice(64 * 64 * 20, voxels, replace=False)
    centre = 0.5 * np.stack(np.unravel_index(cell, (64, 64, 20)), axis=1) + wide / 2
    return ViewerScene(
        title="Load", lower=[0.0, 0.0, 0.0], upper=[wide, wide, 30.0], ground=1.5,
        mesh=Triangles(flat(vertex, 2), face.ravel().tolist()),
        reports=ReportMarks(flat(place, 2), list(range(reports)), ["roof"] * reports, columns),
        voxels=VoxelMarks(0.5, flat(centre, 2), flat(rng.uniform(0.3, 1, voxels)),
                          flat(rng.uniform(0, 1, voxels)), flat(rng.uniform(0, 1, voxels))),
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in (("triangles", 40_000), ("voxels", 30_000), ("reports", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=count)
    options = vars(parser.parse_args())
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = pathlib.Path(folder) / "page.html"
        size = write_page(city(**options), path)
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
        ready = page.evaluate("() => +document.documentElement.dataset.ready")
        whole = page.evaluate("() => performance.now()")
        frame = page.evaluate(
            """() => { const e = window.echoscape, gl = e.renderer.gl, start = performance.now();
            for (let i = 0; i < 5; i++) { e.camera.azimuth += 0.1; e.frame(); gl.finish(); }
            return (performance.now() - start) / 5; }"""
        )
        browser.close()
    print(options)
    print(
        f"file {size / 1e6:.2f} MB; first frame {ready / 1e3:.2f} s after the script began, at most"
    )
    print(f"{whole / 1e3:.2f} s after the page was asked for; {frame:.0f} ms a frame")


if __name__ == "__main__":
    main()
