"""The closed loop: what an image or a walk has seen is worth as a start of a map."""

import json
from pathlib import Path

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.studies.closed_loop import imaging
from echoscape.studies.closed_loop.study import draw, measure_parts, table
from echoscape.studies.sweep import read_sweep


def test_paths_of_a_yard_meet_what_both_ends_see():
    yard = imaging.make_yard(0, 6, 4)
    paths = yard.reports.estimates
    report, rank = np.nonzero(np.asarray(paths.valid))
    azimuth, zenith, length = (
        np.asarray(getattr(paths, name))[report, rank]
        for name in ("departure_azimuth", "departure_zenith", "length")
    )
    unit = np.stack(
        [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], 1
    )
    # The one point along the ray at which station and user share the length is a scatterer.
    user = yard.reports.position[report] - yard.station
    reach = (length**2 - np.sum(user**2, 1)) / (2 * (length - np.sum(unit * user, 1)))
    found = yard.station + reach[:, None] * unit
    away = np.linalg.norm(found[:, None] - yard.world.place[None], axis=-1).min(axis=1)
    assert len(away) >= 30
    assert np.median(away) < 3 * np.hypot(imaging.ANGLE * 10.0, imaging.LENGTH)
    more = imaging.make_yard(0, 9, 4)
    assert np.array_equal(more.reports.position[:6], yard.reports.position)


def test_the_table_and_the_figure_say_where_there_was_no_map():
    rows = {
        "imaging": [
            {"method": "no start", "reports": 0, "status": "no map"},
            {"method": "image", "reports": 0, "status": "ok", "median": 0.1, "p90": 0.4,
             "beyond_10": 0.0, "located": 1.0},
            {"method": "image", "reports": 0, "status": "ok", "median": 0.3, "p90": 0.6,
             "beyond_10": 0.1, "located": 0.5},
        ]
    }  # fmt: skip
    first, second = table(rows)
    assert (first["without a map"], first["median"]) == (1, None)
    assert (second["worlds"], second["without a map"]) == (2, 0)
    assert second["median"] == pytest.approx(0.2)
    drawn = [line.get_label() for line in draw(rows).axes[0].lines]
    assert "image" in drawn
    assert "no start" not in drawn


def test_the_page_has_the_table_of_the_stored_rows():
    root = Path(__file__).resolve().parents[3]
    kept = read_sweep(root / "docs/rows/closed_loop_imaging.jsonl")
    page = (root / "docs/choosing.md").read_text(encoding="utf-8")
    lines = table({"imaging": [row for some in kept.values() for row in some]})
    by = {(line["method"], line["reports"]): line for line in lines}
    cell = lambda line: (  # noqa: E731
        "no map" if line["median"] is None else f"{line['median']:.3f} / {line['p90']:.3f}"
    )
    assert len(by) == 12
    for count in {count for _, count in by}:
        row = f"| {count} | {cell(by['no start', count])} | {cell(by['image', count])} |"
        assert row in page


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="imaging"):
        measure_parts(["imagine"])


@pytest.mark.slow
def test_an_image_is_a_map_before_anybody_reports(tmp_path, capsys):
    arguments = ["reproduce", "closed-loop", "--out", str(tmp_path / "study"), "--parts", "imaging",
                 "--quick", "--quiet", "--json"]  # fmt: skip
    assert main(arguments) == 0
    lines = json.loads(capsys.readouterr().out)
    by = {(line["method"], line["reports"]): line for line in lines}
    assert by["no start", 0]["without a map"] == 1
    assert by["image", 0]["median"] < 0.15
    assert by["no start", 10]["median"] < 0.3
    assert (tmp_path / "study/closed_loop.png").stat().st_size > 10_000
    kept = (tmp_path / "study/imaging.jsonl").read_text()
    assert main(arguments) == 0  # nothing is measured again
    assert (tmp_path / "study/imaging.jsonl").read_text() == kept


@pytest.mark.slow
def test_a_tracked_walk_is_a_map_before_anybody_reports():
    rows = measure_parts(["tracking", "recall"], quick=True)
    by = {row["method"]: row for row in rows["tracking"]}
    assert by["no start"]["status"] == by["tracked points"]["status"] == "no map"
    assert by["tracked walk"]["median"] < 1.0
    assert by["tracked walk"]["located"] > 0.5
    (walked,) = rows["recall"]
    assert walked["median"] < 0.5
