"""MATLAB files: read as they are, refused before they take memory."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from echoscape.checks import InputError
from echoscape.files.matlab import load_matlab

_LIST = "a measured multipath list"


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_come_back(tmp_path, compressed):
    cells = np.empty(2, object)
    cells[:] = [np.arange(3.0), {"deep": np.eye(2)}]
    content = {"place": np.eye(3), "sim": {"tx": np.ones(3), "list": cells}, "name": "x"}
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    found = load_matlab(tmp_path / "a.mat", _LIST)
    assert set(found) == {"place", "sim", "name"}
    assert found["sim"].tx.tolist() == [1, 1, 1]
    assert found["sim"].list[1].deep.tolist() == [[1, 0], [0, 1]]


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def file_of(*elements):
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def cell(shape, *inside):
    parts = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", *shape))
    return element(14, parts + element(1, b"c") + b"".join(inside))


def text_of_type(kind):
    """Make an array of characters whose own element has any type; SciPy crashes on unknown ones."""
    parts = element(6, struct.pack("<II", 4, 0)) + element(5, struct.pack("<ii", 1, 1))
    return element(14, parts + element(1, b"c") + element(kind, b"xx"))


def bomb():
    return file_of(element(15, zlib.compress(bytes(200 * 2**20), 9)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file_of(cell((2**15, 2**15))), r"its variables need .* of memory"),
        (file_of(cell((1, 1), cell((2**15, 2**15)))), r"its variables need .* of memory"),
        (bomb(), r"its compressed variables need .* of memory"),
        (b"MATLAB 7.3 MAT-file".ljust(200), "is a MATLAB 7.3 file; save it again with the option"),
        (b"x" * 300, "cannot be read as a MATLAB file"),
        (file_of(text_of_type(255)), "an element of the unknown type 255"),
        (file_of(element(15, b"no zlib stream")), "cannot be read as a MATLAB file"),
    ],
)
def test_claims_and_damages_are_refused_in_little_memory(tmp_path, content, message):
    (tmp_path / "a.mat").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        load_matlab(tmp_path / "a.mat", _LIST)
    assert tracemalloc.get_traced_memory()[1] < 600e6
    tracemalloc.stop()
