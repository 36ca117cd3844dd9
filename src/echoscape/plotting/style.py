"""One look for all figures: widths of columns, and colours that everybody can tell apart.

Takes nothing.
Gives parameters of Matplotlib, widths, and colours, and text of files as it is drawn.
"""

from typing import Any

from echoscape.text import printable

SINGLE, DOUBLE = 3.5, 7.2
"""Width of one and of two columns [inch]."""
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "pdf.fonttype": 42,
}
BLUE, RED, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7"
"""Of Okabe and Ito; distinguished also without green or red."""
FAINT = "#cccccc"
"""What stands behind: reports, observations."""


def plain(text: object) -> str:
    r"""Give text of a file so that it is drawn as it is: without formulas between dollar signs.

    Args:
        text: Such as the name of a station.
    """
    return printable(text).replace("$", r"\$")
