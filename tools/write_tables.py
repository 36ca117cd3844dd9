"""Write the tables and sentences of pages that state what was measured, from stored rows.

Between ``<!-- rows: NAME -->`` and ``<!-- end of rows -->`` a page holds what `BLOCKS` makes of the
rows in `docs/rows`; a test compares them, so neither can change without the other.

Takes `docs/rows/demo.json`; with ``--demo FOLDER`` the rows that `echoscape demo` wrote there,
which become it.
Gives the pages.
"""

import argparse
import json
import math
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs/rows"
PAGES = ("README.md",)
FIXED, BUDGET = "fixed errors", "link budget"
NAMES = {
    "anchors": "virtual anchors",
    "nearest report": "nearest reports",
    "bound": "local bound of the virtual anchors' map",
}
"""What the README calls the demo's methods, where it calls them otherwise."""
KEPT = ("median", "p90", "within_3", "beyond_10", "flagged", "flagged_errors", "inside_90")


def take_demo(folder: pathlib.Path) -> dict:
    """Take what the pages state out of the rows of a demo.

    Args:
        folder: What ``echoscape demo`` wrote.
    """
    from pyarrow import parquet

    tables = {
        name: parquet.read_table(folder / f"rows/{name}.parquet")
        for name in ("scores", "targets", "beams")
    }
    rows = {name: table.to_pylist() for name, table in tables.items()}
    made_by = json.loads(tables["scores"].schema.metadata[b"echoscape demo"])
    ours = [row for row in rows["targets"] if row["method"] == "anchors"]
    counts = {}
    for mode in (FIXED, BUDGET):
        mine = [row for row in ours if row["mode"] == mode]
        heard = [row for row in mine if row["heard"] > 0]
        far = [row for row in heard if row["error"] > 10]
        counts[mode] = {
            "targets": len(mine),
            "heard": len(heard),
            "within 3 m": sum(row["error"] <= 3 for row in heard),
            "beyond 10 m": len(far),
            "beyond 10 m and flagged": sum(row["status"] != "located" for row in far),
            "flagged": sum(row["status"] != "located" for row in heard),
        }
    scores = [
        {"method": row["method"]} | {name: _number(row.get(name)) for name in KEPT}
        for row in rows["scores"]
        if row["mode"] == FIXED
    ]
    beams = [
        {name: row[name] for name in ("method", "tried", "beams")}
        | {"found": round(row["found"], 4)}
        for row in rows["beams"]
    ]
    by = {name: made_by[name] for name in ("version", "seed")}
    return by | {"scores": scores, "counts": counts, "beams": beams}


def _number(value: float | None) -> float | None:
    """Round to four digits; None where there is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _length(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def headline(demo: dict) -> str:
    """Say what a map gives, in one sentence."""
    by_method = {row["method"]: row for row in demo["scores"]}
    ours, none = (
        by_method["anchors"]["median"],
        by_method["shortest echo taken as direct"]["median"],
    )
    count = demo["counts"][FIXED]["targets"]
    return (
        f"In a real city (ray-traced) the map places half of {count} such targets within "
        f"{ours:.2f} m; trusting\nthe shortest echo instead gives {none:.0f} m."
    )


def scores(demo: dict) -> str:
    """Lay out the table of methods."""
    lines = [
        "| method | median [m] | 90 % [m] | within 3 m | beyond 10 m |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in sorted(demo["scores"], key=lambda row: row["method"] == "bound"):  # which goes last
        cells = [NAMES.get(row["method"], row["method"])]
        cells += [_length(row["median"]), _length(row["p90"])]
        cells += [_share(row["within_3"]), _share(row["beyond_10"])]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines)


def doubts(demo: dict) -> str:
    """Say which errors were flagged, and what a link budget leaves."""
    fixed, budget = (demo["counts"][mode] for mode in (FIXED, BUDGET))
    return (
        f"Of {fixed['targets']} targets {fixed['beyond 10 m']} are off by more than 10 m, "
        f"{fixed['beyond 10 m and flagged']} of them flagged; {fixed['flagged']} of all were. With "
        "the default link budget of a\n28 GHz small cell and a car, "
        f"{budget['heard']} of the {budget['targets']} targets are detected at all, "
        f"{budget['within 3 m']} are located within 3 m, and {budget['beyond 10 m']} that are\n"
        f"detected are off by more than 10 m, {budget['beyond 10 m and flagged']} of them flagged."
    )


def beams(demo: dict) -> str:
    """Say how often the best beam is among the first three."""
    three = {row["method"]: row for row in demo["beams"] if row["tried"] == 3}
    ours, near, alone = (
        _share(three[name]["found"]) for name in ("anchors", "nearest report", "position only")
    )
    return (
        f"Of {three['anchors']['beams']} beams, for users at these places known to 1 m, the best "
        f"one is among the first three of the virtual\nanchors' order for {ours}, of the nearest "
        f"report's for {near}, and of the direction to the user's position for {alone}."
    )


def origin(demo: dict) -> str:
    """Say what made the rows."""
    return (
        f"The rows in `docs/rows` were made by `echoscape demo` of version {demo['version']} with "
        f"seed {demo['seed']}, this text from them by\n`tools/write_tables.py`."
    )


BLOCKS = {
    "headline": headline,
    "origin": origin,
    "scores": scores,
    "doubts": doubts,
    "beams": beams,
}
"""Each block by its name, from the rows of the demo."""


def stored() -> dict:
    """Read the stored rows."""
    return json.loads((ROWS / "demo.json").read_text(encoding="utf-8"))


def filled(text: str, demo: dict) -> str:
    """Fill the blocks of a page.

    Args:
        text: The page.
        demo: Stored rows.
    """

    def fill(found: re.Match) -> str:
        return f"{found[1]}\n{BLOCKS[found[2]](demo)}\n{found[3]}"

    block = r"(<!-- rows: (\w+) -->)\n.*?\n?(<!-- end of rows -->)"
    return re.sub(block, fill, text, flags=re.DOTALL)


def main() -> None:
    """Store rows if some are given, and fill all pages."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--demo", type=pathlib.Path, help="folder that echoscape demo wrote")
    folder = arguments.parse_args().demo
    if folder is not None:
        ROWS.mkdir(exist_ok=True)
        text = json.dumps(take_demo(folder), indent=1)
        (ROWS / "demo.json").write_text(text + "\n", encoding="utf-8")
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text(encoding="utf-8"), stored()), encoding="utf-8")


if __name__ == "__main__":
    main()
