"""One example for every command, and the files with which they run.

Takes the words of a command.
Gives its example, with which its help ends; a folder of small files.
"""

from collections.abc import Sequence
from pathlib import Path

from echoscape.cli.console import print_line

FOLDER = "try"
EXAMPLES = {
    "demo": "echoscape demo --quick --out quick-demo",
    "examples": f"echoscape examples {FOLDER}",
    "tutorial": "echoscape tutorial ray-tracer",
    "reports check": "echoscape reports check users.parquet",
    "reports convert": "echoscape reports convert users.parquet users.csv",
    "reports import": "echoscape reports import campaign.csv --out campaign.parquet",
    "reports export": "echoscape reports export users.parquet --layout deepmimo --carrier 28e9 "
    "--out scenario",
    "reports import-measured": "echoscape reports import campaign.csv --out measured.parquet",
    "map models": "echoscape map models",
    "map fit": "echoscape map fit users.parquet --out map",
    "map evaluate": "echoscape map evaluate map held_out.parquet",
    "map walls": "echoscape map walls quick-demo/maps/anchors --out walls.geojson",
    "map show": "echoscape map show map --figure map.png",
    "map update": "echoscape map update map held_out.parquet --out later-map",
    "map leave-one-out": "echoscape map leave-one-out campaign.parquet --out left_out.parquet",
    "map signal-strength": "echoscape map signal-strength readings.csv --transmitters "
    "transmitters.csv --block 4 --out readings_found.csv",
    "echoes sample": "echoscape echoes sample site.toml --targets targets.csv --snr 15 "
    "--out samples.npz",
    "echoes make": "echoscape echoes make targets.parquet --angle-std 0.02 --delay-std 1e-9 "
    "--out echoes.parquet",
    "estimate": "echoscape estimate samples.npz --out detected.parquet",
    "samples export": "echoscape samples export samples.npz --carrier 28e9 "
    "--out recording.sigmf-meta",
    "samples import": "echoscape samples import recording.sigmf-meta --out recorded.npz",
    "locate": "echoscape locate echoes.parquet --map map --out fixes.parquet --figure",
    "follow": "echoscape follow heard.parquet --map map --out walk_found.parquet",
    "bound": "echoscape bound --map map --angle-std 0.02 --delay-std 1e-9 --step 4 "
    "--out bound.parquet",
    "track": "echoscape track observations.parquet --station 120.4,222.4,10 --start 96,52,1.2 "
    "--start-velocity 0.19,0.98,0 --out tracks",
    "channel": "echoscape channel tracks --carrier 28e9 --station 120.4,222.4,10 --out channel.npz",
    "links": "echoscape links site.toml --drops 5 --radius 20 --model tr38901-umi --out links.npz",
    "sense": "echoscape sense site.toml --targets walk_truth.csv --type human --times 0,4 "
    "--echoes sensed.parquet",
    "reproduce occlusion-imaging": "echoscape reproduce occlusion-imaging --quick --out imaging",
    "reproduce closed-loop": "echoscape reproduce closed-loop --quick --out starts",
    "reproduce isac-channel": "echoscape reproduce isac-channel --quick --out spreads",
    "reproduce isac-forecast": "echoscape reproduce isac-forecast --seconds 30 --horizon 5 "
    "--out forecast",
    "reproduce isac-targets": "echoscape reproduce isac-targets --requirements T1 --out targets",
    "reproduce nlos-sensing": "echoscape reproduce nlos-sensing --quick --parts square "
    "--out square",
    "bench list": "echoscape bench list square",
    "bench run": "echoscape bench run --tasks city-sample --methods geometry --out rows.jsonl",
    "bench table": "echoscape bench table rows.jsonl",
    "bench submit": "echoscape bench submit rows.jsonl --into leaderboard.jsonl",
    "pilots make": "echoscape pilots make site.toml --edge 4 --out snapshots.npz --truth truth.npz",
    "image": "echoscape image snapshots.npz --origin -24,-16,0 --shape 12,8,2 --edge 4 "
    "--out image.npz --figure image.png",
    "coverage": "echoscape coverage site.toml --edge 4 --figure coverage.png",
    "score": "echoscape score fixes.parquet targets.parquet",
    "store init": "echoscape store init sqlite:///site.db",
    "store import": "echoscape store import sqlite:///site.db users.parquet",
    "store export": "echoscape store export sqlite:///site.db archive",
    "store stats": "echoscape store stats sqlite:///site.db",
    "store check": "echoscape store check sqlite:///site.db",
    "store prune": "echoscape store prune sqlite:///site.db --keep-per-cell 100",
    "store compact": "echoscape store compact sqlite:///site.db",
    "stream send": "echoscape stream send users.parquet --kind reports --together 50",
    "stream keep": "echoscape stream keep tcp://127.0.0.1:8790 --store sqlite:///site.db",
    "serve": "echoscape serve --store sqlite:///site.db --port 8750",
    "view": "echoscape view map --reports users.parquet --export view.html",
    "methods": "echoscape methods image",
    "doctor": "echoscape doctor",
}
"""Each runs in the folder of ``echoscape examples``, after those that make what it reads."""


def examples(folder: Path = Path(FOLDER), /) -> None:
    """Write the small files with which the example of every command's help runs.

    Args:
        folder: Folder to write; one that holds something else is refused.
    """
    from echoscape.sample.examples import write_examples

    names = write_examples(folder)
    print_line(f"{folder}: {', '.join(names)}")
    print_line(f"Go on there: cd {folder} && {EXAMPLES['map fit']}")


def example_of(words: Sequence[str]) -> str | None:
    """Name the example of the command whose help is asked, or None where there is none.

    Args:
        words: The words after ``echoscape``.
    """
    named = [word for word in words if not word.startswith("-")]
    for count in (2, 1):
        found = EXAMPLES.get(" ".join(named[:count]))
        if found:
            return found
    return None
