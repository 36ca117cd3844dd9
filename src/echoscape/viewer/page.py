"""The page as one file: script, style and scene in it, and nothing loaded from anywhere.

Takes a `ViewerScene`.
Gives HTML.
"""

import html
import re
from importlib import resources
from pathlib import Path

from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.text import printable
from echoscape.viewer.scene import ViewerScene, to_json

LARGEST_PAGE = 10_000_000
"""Largest page that is written; longer ones make a phone stall [byte]."""


def page_of(scene: ViewerScene | None) -> str:
    """Write a page that shows a scene.

    Args:
        scene: What it shows; None for the page of a service, which asks for its scene and follows
            the fixes that are made.
    """
    folder = resources.files(__package__ or "echoscape.viewer")
    text = (folder / "page.html").read_text(encoding="utf-8")
    data = "null" if scene is None else to_json(scene)
    data = data.replace("<", "\\u003c")  # no text of a scene can end the script
    parts = {
        "__STYLE__": (folder / "page.css").read_text(encoding="utf-8"),
        **{
            f"__{name.upper()}__": (folder / f"{name}.js").read_text(encoding="utf-8")
            for name in ("draw", "show", "page")
        },
        "__LIVE__": "" if scene else (folder / "live.js").read_text(encoding="utf-8"),
        "__TITLE__": html.escape(printable(scene.title) if scene else "Echoscape"),
        "__SCENE__": data,
    }
    # In one go, so that a part that holds the name of another one stays as it is.
    return re.sub("|".join(parts), lambda found: parts[found[0]], text)


def write_page(scene: ViewerScene, path: str | Path) -> int:
    """Write a page to be shared, ``.html``, or the scene alone, ``.json``.

    Args:
        scene: What it shows.
        path: The file.

    Returns:
        Its size [byte].

    Raises:
        InputError: The name ends otherwise, or the page would be too large.
    """
    path = Path(path)
    if path.suffix not in (".html", ".json"):
        raise InputError(f"a page is written as .html, its scene as .json; got {path.name!r}")
    content = (page_of(scene) if path.suffix == ".html" else to_json(scene)).encode()
    if path.suffix == ".html" and len(content) > LARGEST_PAGE:
        raise InputError(
            f"the page would have {len(content) / 1e6:.1f} MB, more than {LARGEST_PAGE / 1e6:.0f}; "
            "show fewer reports or a coarser mesh, or serve it without --export"
        )
    with atomic_path(path) as draft:
        draft.write_bytes(content)
    return len(content)
