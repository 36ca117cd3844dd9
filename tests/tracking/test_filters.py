"""Settings of filters: profiles, unknowns, refusals and old names."""

import pytest

import echoscape.tracking as tracking
from echoscape.checks import InputError
from echoscape.tracking import JointFilter


def test_profiles_and_unknowns_set_their_fields():
    filter = JointFilter().with_motion("uav").with_unknown("clock", "heading")
    assert (filter.acceleration, filter.vertical_acceleration) == (0.5, 0.5)
    assert filter.clock_std > 0 < filter.heading_std
    assert filter.station_heading_std == 0
    assert JointFilter().with_unknown("station-heading").heading_std == 0


def test_a_profile_of_ones_own_is_read(tmp_path):
    path = tmp_path / "cart.toml"
    path.write_text("acceleration = 0.7\nvertical_manoeuvre = 0.3\n")
    filter = JointFilter().with_motion(str(path))
    assert (filter.acceleration, filter.manoeuvre) == (0.7, JointFilter().manoeuvre)
    for text, words in (
        ("acceleration = -1", "acceleration must lie between 0 and 100 m/s"),
        ("speed = 1", "may set acceleration, manoeuvre"),
        ("acceleration = ", "is not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            JointFilter().with_motion(str(path))
    with pytest.raises(InputError, match="needs one of pedestrian, vehicle, uav or a"):
        JointFilter().with_motion("bicycle")


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="may name clock, heading, station-heading"):
        JointFilter().with_unknown("time")
    with pytest.raises(InputError, match="slots must be a multiple of chunk, 8; got 20 slots"):
        JointFilter(slots=20)
    with pytest.raises(InputError, match="gate must be finite and not below zero; got -1"):
        JointFilter(gate=-1.0)


def test_the_old_name_works_and_says_so():
    with pytest.warns(DeprecationWarning, match="JointSettings is now JointFilter"):
        assert tracking.JointSettings is JointFilter
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        tracking.Nothing
