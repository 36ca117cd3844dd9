"""A ray-traced table is refused for what a table of reports is refused for."""

import math
import tracemalloc

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.propagation.traced_table import traced_arrays

ROWS = np.array([0.1, -0.4, 0.3, 1.1, -0.2])
TABLE = {
    "pos": np.array([[10.0, 20.0, 1.5], [11.0, 25.0, 1.5], [-30.0, 7.0, 1.2]]),
    "bs_pos": np.array([1.0, 2.0, 10.0]),
    "offset": np.array([0, 3, 3, 5]),
    "a_re": 1e-5 * ROWS,
    "a_im": -1e-5 * ROWS,
    "tau_ns": np.array([100.0, 250.0, 90.0, 130.0, 400.0]),
    "aod": ROWS,
    "eod": -ROWS,
    "aoa": 2 * ROWS,
    "eoa": ROWS,
    "nb": np.array([0, 1, 1, 2, 2], np.uint8),
    "vert": np.full((5, 2, 3), np.nan),
}
NEEDED = ("pos", "offset", "tau_ns")


def test_what_is_right_comes_back(tmp_path):
    np.savez(tmp_path / "t.npz", unknown=np.zeros(3), **TABLE)
    for source in (TABLE, tmp_path / "t.npz"):
        found = traced_arrays(source, NEEDED)
        assert set(found) == set(TABLE)
        np.testing.assert_array_equal(found["aoa"], TABLE["aoa"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aod": np.degrees(ROWS)}, "aod must hold azimuths .* row 3 has 63.*degrees, multiply"),
        ({"eod": math.pi / 2 - 3 * ROWS}, r"eod must hold elevations .*"),
        ({"eoa": 1.8 - np.abs(ROWS)}, r"if these are angles from \+z, take pi/2 - angle"),
        ({"tau_ns": np.array([1.0, np.nan, 1, 1, 1])}, "tau_ns must be finite numbers; 1 of 5"),
        ({"tau_ns": -TABLE["tau_ns"]}, "tau_ns must not be negative, in ns; got -400"),
        ({"tau_ns": 1e4 * TABLE["tau_ns"]}, "must stay below 1e.06 ns, 300 km; got 4e.06"),
        ({"tau_ns": 1e-9 * TABLE["tau_ns"]}, "if these are seconds, multiply them by 1e9"),
        (
            {"a_re": np.array([1, 40.0, 1, 1, 1])},
            "must be amplitudes .* at most 1, but the",
        ),
        ({"a_re": TABLE["a_re"][:4]}, r"a_re must have the shape \(row\) with 5 for row"),
        ({"pos": TABLE["pos"][:, :2]}, r"pos must have the shape \(user, 3\)"),
        ({"offset": np.array([0, 3, 3, 10**9])}, "from 0 to 5, its rows; got 4, 0 to 1000000000"),
        ({"offset": TABLE["offset"] + 1}, "from 0 to 5, its rows; got 4, 1 to 6"),
        ({"offset": np.array([0, 4, 3, 5])}, "needs 4 rising numbers in offset"),
        ({"offset": np.array([0, 3, 5])}, "needs 4 rising numbers in offset"),
        ({"offset": TABLE["offset"] + 0.5}, "offset must be whole numbers"),
        ({"nb": np.array([0, 1, 1, 2, 3])}, "nb must lie between 0 and 2, the vertices in vert"),
    ],
)
def test_what_is_wrong_is_refused_with_its_cause(tmp_path, change, message):
    tracemalloc.start()
    np.savez(tmp_path / "t.npz", **(TABLE | change))
    for source in (TABLE | change, tmp_path / "t.npz"):
        with pytest.raises(InputError, match=message):
            traced_arrays(source, NEEDED)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_missing_array_is_named_with_its_likely_name():
    table = {("delay_ns" if name == "tau_ns" else name): v for name, v in TABLE.items()}
    with pytest.raises(InputError, match="has no array 'tau_ns'; rename 'delay_ns'"):
        traced_arrays(table, NEEDED)
