"""Echoes as lines: the closest pair of paths, and none where no pair comes close."""

import numpy as np
import pytest

from echoscape.reports import Echoes
from echoscape.viewer.echo_lines import echo_lines
from echoscape.viewer.scene import FixMark
from tests.worlds.shown import forecast

FIX = FixMark(7, 0, "located", [20.0, 22.0, 1.5], [0.0] * 9, 1.0)


def echoes(azimuth_error=0.0, length_error=0.0):
    """One echo: out along the straight path, back along the bent one."""
    out, back = forecast(FIX.position).forecast.paths
    return Echoes.from_arrays(
        departure_azimuth=[[out.departure_azimuth + azimuth_error]],
        departure_zenith=[[out.departure_zenith]],
        arrival_azimuth=[[back.departure_azimuth]], arrival_zenith=[[back.departure_zenith]],
        length=[[299_792_458.0 * (out.delay + back.delay) + length_error]], power=[[1e-15]],
        departure_azimuth_std=0.01, departure_zenith_std=0.01, arrival_azimuth_std=0.01,
        arrival_zenith_std=0.01, length_std=0.1, target=[7], station="roof",
    )  # fmt: skip


def test_an_echo_goes_out_along_one_path_and_back_along_the_other():
    (line,) = echo_lines(echoes(0.02), (FIX,), ("roof",), forecast)
    out, back = forecast(FIX.position).lines
    np.testing.assert_allclose(line.line, [*out, *back[3:6], *back[:3]], atol=0.01)
    assert not line.exact  # the way back is an equivalent


@pytest.mark.parametrize("wrong", [{"azimuth_error": 0.2}, {"length_error": 9.0}])
def test_an_echo_that_no_pair_explains_has_a_direction_alone(wrong):
    (line,) = echo_lines(echoes(**wrong), (FIX,), ("roof",), forecast)
    assert line.line == []
    assert np.linalg.norm(line.departure) == pytest.approx(1.0, abs=1e-3)


def test_without_a_fix_or_a_map_there_is_no_line():
    assert echo_lines(echoes(), (), ("roof",), forecast) == ()
    assert echo_lines(echoes(), (FIX,), ("mast",), forecast) == ()
