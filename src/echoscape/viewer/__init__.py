"""The viewer: what was measured, learnt and located, in three dimensions on one page.

It reads results and computes no method.  Everything on the page stands in one `ViewerScene`, whose
JSON is at the same address; the page needs no server to be looked at, and loads nothing.

Takes `Results`: maps, reports, fixes, echoes, tracks, an image, a bound, a mesh.
Gives a page, as one file or served to this machine.
"""

from echoscape.viewer.assemble import Place, Results, make_scene
from echoscape.viewer.page import page_of, write_page
from echoscape.viewer.scene import PlaceMark, ViewerScene, to_json
from echoscape.viewer.server import make_server

__all__ = [
    "Place",
    "PlaceMark",
    "Results",
    "ViewerScene",
    "make_scene",
    "make_server",
    "page_of",
    "to_json",
    "write_page",
]


def __dir__() -> list[str]:
    return sorted(__all__)
