"""The page in a real browser: it appears, picks, moves in time, and speaks to nobody else.

Needs chromium, as ``.ci/run`` installs it; ECHOSCAPE_CHROMIUM names another.
"""

import os
import shutil
import threading

import pytest

from echoscape.viewer import Place, make_scene, make_server, write_page
from tests.worlds.shown import everything, forecast

pytestmark = pytest.mark.slow

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    program = os.environ.get("ECHOSCAPE_CHROMIUM") or shutil.which("chromium")
    assert program, "chromium is needed: apt-get install chromium, or name it by ECHOSCAPE_CHROMIUM"
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address():
    """A server whose maps are stood in for by two paths of known places."""
    results = everything()
    scene = make_scene(results, "A small world", Place(results))
    object.__setattr__(scene, "live", True)
    server = make_server(scene, forecast)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 900, "height": 640})
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    show(opened, address)
    yield opened
    assert opened.said == []
    assert all(url.startswith(address) for url in opened.asked), opened.asked
    opened.close()


def show(page, address):
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)


def colours(page):
    """Count different colours of the picture: an empty canvas has one."""
    return page.evaluate(
        """() => { const { gl } = window.echoscape.renderer, canvas = gl.canvas;
        window.echoscape.frame();
        const data = new Uint8Array(4 * canvas.width * canvas.height);
        gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, data);
        return new Set(new Uint32Array(data.buffer)).size; }"""
    )


def click(page, script):
    x, y = page.evaluate(f"() => window.echoscape.project({script}).slice(0, 2)")
    page.mouse.click(x, y)
    return page.inner_text("#picked")


def only(page, *names):
    page.evaluate(
        """(names) => window.echoscape.layers.forEach((l) => {
        if (l.on !== names.includes(l.name)) l.tick.click(); })""",
        names,
    )


def test_the_scene_appears_with_every_layer(page):
    assert colours(page) > 50
    panel = page.inner_text("#layers")
    for name in ("Buildings", "Reports", "Voxels", "Fixes", "Tracks", "Stations", "Bound"):
        assert name in panel
    assert "dB" in panel  # units stand at the scales
    assert page.inner_text("#scale").endswith(" m")
    assert page.inner_text("#labels") == "roof"
    only(page)
    assert colours(page) == 1
    for name in (
        "Buildings",
        "Reports",
        "Voxels",
        "Fixes",
        "Tracks",
        "Stations",
        "Bound of the error",
    ):
        only(page, name)
        assert colours(page) > 1, name


def test_picking_tells_what_is_there(page):
    only(page, "Fixes", "Stations")
    said = click(page, "window.echoscape.scene.fixes[2].position")
    assert "Target 8" in said
    assert "ambiguous" in said
    assert page.evaluate("() => window.echoscape.state.extra.length") >= 1
    said = click(page, "window.echoscape.scene.stations[0].position")
    assert "Station roof" in said
    assert "8 x 4" in said
    page.keyboard.press("Escape")
    assert not page.is_visible("#picked")


def test_a_place_shows_what_the_map_predicts(page):
    only(page, "Bound of the error")
    said = click(page, "[12, 3, 1.5]")
    page.wait_for_function("() => window.echoscape.state.forecast !== null")
    said = page.inner_text("#picked")
    assert "Predicted at 12" in said
    assert "-90.0" in said  # 1e-9 in dB
    assert "0.90" in said
    assert "Bound: 0.32 m rms" in said
    assert any("predict?" in url for url in page.asked)


def test_the_slider_and_the_keys_move_time(page):
    def at():
        return page.inner_text("#clock output")

    assert at() == "20.0 s"
    page.evaluate(
        """() => { const t = document.getElementById("time"); t.value = 250;
        t.dispatchEvent(new Event("input")); }"""
    )
    assert at() == "12.5 s"
    only(page, "Tracks")
    said = click(page, "[12.5, -8.75, 1.5]")
    assert "User" in said
    assert "12.5 s" in said
    page.focus("#view")
    page.keyboard.press(".")
    assert at() == "12.6 s"
    page.keyboard.press(" ")
    page.wait_for_function("() => window.echoscape.scene.now > 12.7")
    page.keyboard.press(" ")


def test_keys_turn_zoom_and_darken(page):
    def camera():
        return page.evaluate("() => ({ ...window.echoscape.camera })")

    page.focus("#view")
    before = camera()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
    after = camera()
    assert after["azimuth"] > before["azimuth"]
    assert after["elevation"] > before["elevation"]
    assert after["distance"] < before["distance"]
    page.keyboard.press("t")
    assert camera()["elevation"] == pytest.approx(1.5698, abs=1e-3)
    dark = page.evaluate("() => document.documentElement.classList.contains('dark')")
    page.keyboard.press("d")
    assert page.evaluate("() => document.documentElement.classList.contains('dark')") != dark
    assert colours(page) > 50


def test_colouring_and_threshold_change_the_legend(page):
    page.select_option("select[aria-label='Reports: colour by']", label="paths")
    assert "0.5" in page.inner_text("#layers")  # one path each: the scale is widened
    page.evaluate(
        """() => { const t = document.querySelector("[aria-label='Voxels: least occupancy']");
        t.value = 0.9; t.dispatchEvent(new Event("input")); }"""
    )
    voxels = page.evaluate(
        "() => window.echoscape.scene.voxels.occupancy.filter((v) => v >= 0.9).length"
    )
    assert f"{voxels} of" in page.inner_text("#layers")


def test_a_telephone_shows_scene_and_panel(page, address):
    page.set_viewport_size({"width": 360, "height": 700})
    show(page, address)
    panel = page.evaluate("() => document.getElementById('panel').getBoundingClientRect().toJSON()")
    assert panel["width"] == 360
    middle = page.evaluate("() => window.echoscape.project([30, 5, 5]).slice(0, 2)")
    assert 0 < middle[0] < 360
    assert 0 < middle[1] < panel["top"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.click("#fold")
    assert page.evaluate("() => document.getElementById('panel').offsetHeight") < 60


def test_a_file_needs_no_server(browser, tmp_path):
    results = everything()
    path = tmp_path / "page.html"
    scene = make_scene(results, "A file", Place(results))
    object.__setattr__(scene, "places", (forecast([10.0, 3.0, 1.5]),))
    write_page(scene, path)
    page = browser.new_page(viewport={"width": 700, "height": 500})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    show(page, path.as_uri())
    only(page, "Bound of the error")
    assert "Predicted at 10.0, 3.0, 1.5 m" in click(page, "[12, 4, 1.5]")
    assert said == []
    assert asked == [path.as_uri()]
    page.close()
