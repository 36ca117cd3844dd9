"""Files as such, before any of them means something: read bounded, written whole.

Takes paths and what is to be written.
Gives arrays of archives with checked shapes, and outputs that replace old ones in one step.
"""

from echoscape.files.limits import check_input, check_size, largest_input
from echoscape.files.npz import Arrays, Npz, open_npz, write_npz
from echoscape.files.output import (
    atomic_files,
    atomic_folder,
    atomic_path,
    check_output,
    check_output_folder,
    committed,
)

__all__ = [
    "Arrays",
    "Npz",
    "atomic_files",
    "atomic_folder",
    "atomic_path",
    "check_input",
    "check_output",
    "check_output_folder",
    "check_size",
    "committed",
    "largest_input",
    "open_npz",
    "write_npz",
]


def __dir__() -> list[str]:
    return sorted(__all__)
