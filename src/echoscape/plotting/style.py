"""One look for all figures: widths of columns, and colours that everybody can tell apart.

Takes nothing.
Gives parameters of Matplotlib, widths, and colours.
"""

from typing import Any

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
