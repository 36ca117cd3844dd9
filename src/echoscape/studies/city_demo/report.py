"""The demo's folder: rows, figures, maps, and one page that explains itself.

The page is a single file: styles inside, figures as data, no script and nothing fetched.  Tables
and figures are made from the stored rows, read back, and from nothing else.

Takes a `Demo` with its settings, and the sample's scene.
Gives a folder.
"""

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from echoscape import __version__
from echoscape.channel_map import save_maps
from echoscape.studies.city_demo.figures import CAPTIONS, STYLE, draw_figures, select
from echoscape.studies.city_demo.study import BOUND, MODES, Demo, DemoSettings, Rows

TABLES = ("targets", "scores", "beams", "paths", "steps")
REPORT = "report.html"
COLUMNS = (
    "median [m]", "90 % [m]", "RMSE [m]", "< 1 m", "< 3 m", "< 10 m", "> 10 m", "lost",
    "in 50/90/99 %", "time [s]",
)  # fmt: skip
"""Headings of the table of scores; the method stands before them."""

_LENGTHS = ("median", "p90", "rmse")
_SHARES = ("within_1", "within_3", "within_10", "beyond_10", "lost")
_INSIDE = ("inside_50", "inside_90", "inside_99")


def write_demo(
    demo: Demo, settings: DemoSettings, scene: Mapping[str, np.ndarray], folder: Path
) -> None:
    """Write everything into a folder, the page last.

    Args:
        demo: What was found.
        settings: With which settings; they travel with every table.
        scene: `Sample.scene`.
        folder: An existing folder.
    """
    chosen = settings.model_dump(mode="json")
    write_rows(demo, chosen, folder / "rows")
    rows = read_rows(folder / "rows")
    for method, item in demo.maps.items():
        name = method.replace(",", "").replace(" ", "-")
        save_maps(item, folder / "maps" / name, settings=chosen, seed=settings.seed)
    (folder / "settings.json").write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")
    images = _draw(rows, scene, folder / "figures")
    (folder / REPORT).write_text(_page(rows, chosen, images), encoding="utf-8")


def write_rows(demo: Demo, settings: Mapping, folder: Path) -> None:
    """Write every table as Parquet, with the settings beside the columns."""
    folder.mkdir(parents=True)
    about = {b"echoscape demo": json.dumps({"version": __version__, **settings}).encode()}
    for name in TABLES:
        columns = {key: pa.array(np.asarray(values)) for key, values in getattr(demo, name).items()}
        table = pa.table(columns).replace_schema_metadata(about)
        parquet.write_table(table, folder / f"{name}.parquet", compression="zstd")


def read_rows(folder: Path) -> dict[str, Rows]:
    """Read the tables that `write_rows` wrote."""
    rows = {}
    for name in TABLES:
        table = parquet.read_table(folder / f"{name}.parquet")
        rows[name] = {key: np.asarray(table[key].to_pylist()) for key in table.column_names}
    return rows


def score_lines(scores: Rows, mode: str) -> list[list[str]]:
    """Spell the scores of one mode: a line for each method, cells as in `COLUMNS`."""
    rows = select(scores, mode=mode)
    lines = []
    for i, method in enumerate(rows["method"].tolist()):
        if method == BOUND:
            method = "bound of the anchors' map"
        cells = [_length(rows[name][i]) for name in _LENGTHS]
        cells += [_share(rows[name][i]) for name in _SHARES]
        inside = [rows[name][i] for name in _INSIDE]
        cells.append("-" if np.isnan(inside).any() else "/".join(f"{100 * x:.0f}" for x in inside))
        seconds = rows["seconds"][i]
        lines.append([method, *cells, "" if np.isnan(seconds) else f"{seconds:.1f}"])
    return lines


def beam_lines(beams: Rows) -> tuple[list[str], list[list[str]]]:
    """Spell the table of beams: headings, and a line for each method."""
    methods = list(dict.fromkeys(beams["method"].tolist()))
    first = select(beams, method=methods[0])
    heading = ["users' beams", *(f"in first {count}" for count in first["tried"])]
    heading += [f"loss of {count} [dB]" for count in first["tried"]]
    lines = []
    for method in methods:
        rows = select(beams, method=method)
        found = [_share(value) for value in rows["found"]]
        lines.append([method, *found, *(f"{value:.1f}" for value in rows["loss"])])
    lines.append(["pilots saved", *(_share(value) for value in first["saved"]), *[""] * len(first)])
    return heading, [line[: len(heading)] for line in lines]


def hearing(targets: Rows) -> dict[str, int]:
    """Count the targets that a link budget lets be detected and located by the map of anchors."""
    rows = select(targets, mode="link budget", method="anchors")
    return {
        "targets": len(rows["target"]),
        "heard": int(np.sum(rows["heard"] > 0)),
        "two paths": int(np.sum(rows["heard"] > 1)),  # a single path gives a single echo
        "echoes": int(np.sum(rows["heard"])),
        "possible": int(np.sum(rows["possible"])),
        "one place": int(np.sum(rows["status"] == "located")),
        "within 3 m": int(np.sum(rows["error"] <= 3.0)),
    }


def hearing_sentence(targets: Rows) -> str:
    """Say how many targets are detectable and locatable at all."""
    count = hearing(targets)
    return (
        f"With the default link budget {count['echoes']} of {count['possible']} echoes are "
        f"detectable: {count['heard']} of {count['targets']} targets are detected, "
        f"{count['two paths']} of them over at least two paths; {count['one place']} get a fix "
        f"with a single answer, and {count['within 3 m']} are located within 3 m."
    )


def _length(value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.0f} %"


def _draw(rows: dict[str, Rows], scene, folder: Path) -> dict[str, bytes]:
    """Draw the figures as PNG and PDF; return the PNG."""
    folder.mkdir()
    images = {}
    with matplotlib.rc_context(STYLE):
        for name, figure in draw_figures(rows, scene).items():
            page, stream = io.BytesIO(), io.BytesIO()
            figure.savefig(page, format="pdf", metadata={"CreationDate": None})
            (folder / f"{name}.pdf").write_bytes(page.getvalue())  # whole: a full disk is named
            figure.savefig(stream, format="png", metadata={"Software": None})
            images[name] = stream.getvalue()
            (folder / f"{name}.png").write_bytes(images[name])
    return images


def _page(rows: dict[str, Rows], settings: Mapping, images: Mapping[str, bytes]) -> str:
    """Write the page."""
    scores = rows["scores"]
    count = int(scores["count"][0])
    best = select(scores, method="anchors", mode=MODES[0])
    blind = select(scores, method="shortest echo taken as direct", mode=MODES[0])
    steps = rows["steps"]
    parts = [
        _paragraph(
            f"A base station in a city wants to know where {count} objects are that it cannot see. "
            "Their echoes do come back, but over walls, folded so often that direction and delay "
            "seem to say nothing.  Ordinary users have been there before: their reports (where "
            "they were, and which paths they had) are enough to learn how this place folds "
            "radio.  The same knowledge then chooses beams for users.",
            "lead",
        ),
        "<div class=facts>",
        _fact(_length(best["median"][0]) + " m", "median error with the learnt map of anchors"),
        _fact(_share(best["within_3"][0]), "of the targets located within 3 m"),
        _fact(_length(blind["median"][0]) + " m", "median error if the shortest echo is trusted"),
        "</div>",
        _figure("city", images),
        "<h2>How it works</h2>",
        _figure("story", images),
        "<h2>What was located</h2>",
        _paragraph(
            f"All methods get the same echoes and the target's height.  <b>Fixed errors</b>: all "
            f"ordered pairs of up to {settings['strongest']} strongest paths, each angle wrong by "
            f"{settings['angle_std']:g} rad and each delay by {1e9 * settings['delay_std']:g} ns; "
            "the association of echoes and paths is unknown.  <b>Link budget</b>: only what a "
            "28 GHz small cell can detect of a car, each echo as accurate as its signal-to-noise "
            "ratio allows. "
            f"The networks had only {settings['epochs']} passes over the reports here."
        ),
        _paragraph(html.escape(hearing_sentence(rows["targets"]))),
    ]
    for mode in MODES:
        parts.append(_table(f"Targets, {mode}", ["method", *COLUMNS], score_lines(scores, mode)))
    parts.append(
        _paragraph(
            "Shares are of all targets; those without any echo are lost and count as infinitely "
            "wrong in median and percentile, and not in the RMSE.  <i>In 50/90/99 %</i>: the "
            "percentages of located targets whose true place is inside the regions claimed to hold "
            "50, 90 and 99 %. Fixes that are ambiguous, at the edge of the map or poorly explained "
            "are flagged: with fixed errors " + _flag_sentence(best),
            "note",
        )
    )
    parts += [_figure("errors", images), _figure("calibration", images)]
    heading, lines = beam_lines(rows["beams"])
    of = int(rows["beams"]["beams"][0])
    parts += [
        "<h2>The same map steers beams</h2>",
        _paragraph(
            f"Users stand at the targets' places, known to {settings['position_std']:g} m in each "
            f"coordinate; each way of choosing orders the {of} beams of the station's array.  "
            "<i>Loss</i> is the mean power lost against trying all of them."
        ),
        _figure("beams", images),
        _table("Beams", heading, lines),
        "<h2>What this does not show</h2>",
        _LIMITS,
        "<h2>How it was made</h2>",
        _paragraph(
            f"Echoscape {__version__}, seed {settings['seed']}.  Every number above is in "
            "<code>rows/</code> (Parquet), the maps are in <code>maps/</code>, the figures in "
            "<code>figures/</code> (PNG and PDF).  The same seed gives the same numbers, up to "
            "round-off between machines."
        ),
        _table(
            "Seconds of each step",
            ["step", "seconds"],
            [[name, f"{t:.1f}"] for name, t in zip(steps["step"].tolist(), steps["seconds"])],
        ),
        f"<details><summary>Settings</summary><pre>"
        f"{html.escape(json.dumps(settings, indent=2))}</pre></details>",
        _paragraph(
            "The city contains information from OpenStreetMap, © OpenStreetMap contributors, "
            "available under the Open Database License 1.0.",
            "note",
        ),
    ]
    body = "\n".join(parts)
    return _SHELL.replace("{{body}}", body).replace("{{style}}", _CSS)


def _flag_sentence(best: Rows) -> str:
    flagged, wrong = best["flagged"][0], best["flagged_errors"][0]
    if np.isnan(wrong):
        return f"the map of anchors flags {_share(flagged)} of its fixes, and none is beyond 10 m."
    return (
        f"the map of anchors flags {_share(flagged)} of its fixes, among them {_share(wrong)} of "
        "those beyond 10 m."
    )


def _paragraph(content: str, kind: str = "") -> str:
    return f'<p class="{kind}">{content}</p>' if kind else f"<p>{content}</p>"


def _fact(number: str, words: str) -> str:
    return f"<div><b>{html.escape(number)}</b><span>{html.escape(words)}</span></div>"


def _figure(name: str, images: Mapping[str, bytes]) -> str:
    """Embed a figure with its caption; a figure that could not be drawn leaves no trace."""
    if name not in images:
        return ""
    data = base64.b64encode(images[name]).decode()
    caption = html.escape(CAPTIONS[name])
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _table(title: str, heading: list[str], lines: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return (
        f"<div class=scroll><table><caption>{html.escape(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


_LIMITS = """<ul>
<li>The same ray tracer made the reports and the targets' echoes, so nothing contradicts the map:
measured channels will be harder.</li>
<li>One city square of 260 m, one base station, one height of users and targets.</li>
<li>Walls are exact mirrors and everything stands still; there is no diffuse scattering.</li>
<li>Targets are points that scatter alike in all directions; there is no clutter, no interference
between echoes and no leak from the transmitter, and every target's echoes come separated from the
others'.</li>
<li>The reports are exact here; noisy ones make every map worse.</li>
</ul>"""

_SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Echoscape demo</title><style>{{style}}</style></head>
<body><main><h1>Where targets are that nobody can see</h1>
{{body}}
</main></body></html>
"""

_CSS = """
body{margin:0;background:#fff;color:#1b1b1b;font:16px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 1rem}
h2{font-size:1.3rem;margin:2.8rem 0 .6rem}
p,ul{max-width:46rem}
.lead{font-size:1.1rem}
.note,figcaption{color:#555;font-size:.9rem}
.facts{display:flex;flex-wrap:wrap;gap:1rem 3rem;margin:1.5rem 0}
.facts b{display:block;font-size:2rem;color:#0072b2;line-height:1.2}
.facts span{color:#555;font-size:.95rem}
figure{margin:1.5rem 0}
figure img{max-width:100%;height:auto}
figcaption{max-width:46rem;margin-top:.4rem}
.scroll{overflow-x:auto;margin:1.2rem 0}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;white-space:nowrap}
caption{text-align:left;font-weight:600;padding-bottom:.3rem}
th{font-weight:600;color:#555;border-bottom:1.5px solid #999}
th,td{padding:.28rem .55rem;text-align:right}
th:first-child,td:first-child{text-align:left;padding-left:0}
tbody tr{border-bottom:1px solid #e6e6e6}
pre{background:#f6f6f6;padding:1rem;overflow-x:auto;font-size:.8rem}
"""
