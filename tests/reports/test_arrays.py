"""Arrays and data frames of a script meet the checks of files, and come back as they went."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from echoscape.channel_map import NearestReports, fit_map, fit_maps
from echoscape.checks import InputError
from echoscape.propagation import Paths
from echoscape.reports import (
    Echoes,
    Observations,
    Reports,
    read_reports,
    summarize_reports,
    write_reports,
)
from echoscape.reports.echo_making import make_echoes
from echoscape.reports.finding import GeometryWarning
from echoscape.reports.table import echoes_from_table, reports_from_table
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.direct_paths import make_reports
from tests.worlds.refusals import refused

# Paths drawn at random suit no positions, of which reports rightly warn.
pytestmark = pytest.mark.filterwarnings("ignore:.*than the straight line:UserWarning")

RNG = np.random.default_rng(3)
AZIMUTH = RNG.uniform(-3, 3, (4, 3))
ZENITH = RNG.uniform(0.3, 2.8, (4, 3))
DELAY = np.where([[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]], RNG.uniform(1e-7, 1e-6, (4, 3)),
                 np.nan)  # fmt: skip
POWER = -np.sort(-RNG.uniform(1e-12, 1e-9, (4, 3)), axis=1)
PLACE = RNG.uniform(-50, 90, (4, 3))
REPORTS = {
    "position": PLACE, "station_position": (1.0, -2.0, 20.0), "departure_azimuth": AZIMUTH,
    "departure_zenith": ZENITH, "delay": DELAY, "power": POWER, "delay_std": 1e-9,
}  # fmt: skip
ECHOES = {
    "departure_azimuth": AZIMUTH, "departure_zenith": ZENITH, "arrival_azimuth": -AZIMUTH,
    "arrival_zenith": ZENITH, "delay": DELAY, "power": POWER, "departure_azimuth_std": 0.01,
    "departure_zenith_std": 0.02, "arrival_azimuth_std": 0.03, "arrival_zenith_std": 0.04,
    "delay_std": 1e-9,
}  # fmt: skip
SEEN = {
    "time": np.arange(4.0), "departure_azimuth": AZIMUTH, "departure_zenith": ZENITH,
    "arrival_azimuth": -AZIMUTH, "arrival_zenith": ZENITH, "delay": DELAY, "power": POWER,
    "angle_std": 0.01, "delay_std": 1e-9,
}  # fmt: skip


def alike(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_allclose(a, b, rtol=5e-16, atol=0)  # a delay rounds its last bit


@pytest.mark.filterwarnings("error::UserWarning")
def test_reports_of_a_script_warn_of_what_the_door_finds():
    good = make_reports(4, 12, 1.0)
    paths, valid = good.estimates, good.estimates.valid
    arrays = {
        "position": good.position, "station_position": good.station_position[0], "valid": valid,
        "departure_azimuth": paths.departure_azimuth, "departure_zenith": paths.departure_zenith,
        "arrival_azimuth": paths.arrival_azimuth, "arrival_zenith": paths.arrival_zenith,
        "length": paths.length, "power": paths.power,
    }  # fmt: skip
    made = Reports.from_arrays(**arrays)
    assert len(Reports.from_dataframe(made.to_arrow())) == 12
    with pytest.warns(UserWarning, match="run clockwise from"):
        mirrored = Reports.from_arrays(**{
            **arrays, "departure_azimuth": -paths.departure_azimuth,
            "arrival_azimuth": -paths.arrival_azimuth,
        })  # fmt: skip
    with pytest.warns(UserWarning, match="run clockwise from"):
        Reports.from_dataframe(mirrored.to_arrow())


def test_a_file_of_wrong_reports_is_warned_of_once_from_reading_to_fitting(tmp_path):
    good, file = make_reports(4, 12, 1.0), tmp_path / "reports.csv"
    paths = dataclasses.replace(
        good.estimates,
        departure_azimuth=-good.estimates.departure_azimuth,
        arrival_azimuth=-good.estimates.arrival_azimuth,
    )
    mirrored = dataclasses.replace(good, estimates=paths)
    write_reports(mirrored, file)
    with pytest.warns(GeometryWarning, match="run clockwise from") as told:
        reports = read_reports(file)
    assert len(told) == 1
    fit_map(reports, NearestReports())  # a warning would be an error here
    fit_maps(reports[:8], NearestReports())
    with pytest.warns(GeometryWarning, match="run clockwise from") as told:
        fit_map(mirrored, NearestReports())  # these were never read
    assert len(told) == 1
    fit_map(mirrored, NearestReports())


def test_reports_of_arrays_hold_what_was_given():
    made = Reports.from_arrays(**REPORTS, station="mast")
    valid = np.isfinite(DELAY)
    np.testing.assert_array_equal(made.estimates.valid, valid)
    np.testing.assert_allclose(
        made.estimates.length[valid], SPEED_OF_LIGHT * DELAY[valid], rtol=5e-16
    )
    np.testing.assert_array_equal(made.estimates.departure_azimuth[valid], AZIMUTH[valid])
    np.testing.assert_array_equal(made.position, PLACE)
    assert np.isinf(made.estimates.arrival_azimuth_std[valid]).all()
    assert made.station == ("mast",)
    assert made.station_position.tolist() == [[1.0, -2.0, 20.0]]


def test_lengths_stand_for_delays_and_several_stations_have_a_place_each():
    lengths = {k: v for k, v in REPORTS.items() if not k.startswith("delay")}
    made = Reports.from_arrays(
        **{**lengths, "station_position": {"a": (0, 0, 9), "b": (5, 5, 9)}},
        length=SPEED_OF_LIGHT * DELAY, length_std=0.3, station=["a", "b", "a", "b"],
    )  # fmt: skip
    assert made.station_index.tolist() == [0, 1, 0, 1]
    assert made.station_position.tolist() == [[0, 0, 9], [5, 5, 9]]
    assert made.estimates.length_std[0].tolist() == pytest.approx([0.3] * 3, rel=1e-15)


def test_a_zenith_that_was_not_measured_is_level_and_weighs_nothing():
    made = Reports.from_arrays(**{**REPORTS, "departure_zenith": None})
    valid = np.isfinite(DELAY)
    assert np.isinf(made.estimates.departure_zenith_std[valid]).all()


def test_data_frames_come_back_as_they_went():
    for made in (
        Reports.from_arrays(**REPORTS), Echoes.from_arrays(**ECHOES),
        Observations.from_arrays(**SEEN, user_position=PLACE),
    ):  # fmt: skip
        again = type(made).from_dataframe(made.to_arrow())
        if isinstance(made, Observations):  # an instant's rows are numbered in the file
            again = dataclasses.replace(again, row=made.row)
        alike(again, made)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_data_frames_of_other_packages_are_read(package):
    library = pytest.importorskip(package)
    made = Reports.from_arrays(**REPORTS)
    table = made.to_arrow()
    frame = table.to_pandas() if package == "pandas" else library.from_arrow(table)
    alike(Reports.from_dataframe(frame), made)
    assert len(made.to_arrow()) == int(np.isfinite(DELAY).sum()) + 1


def test_whatever_speaks_arrow_is_read():
    class Frame:
        def __init__(self, table):
            self.table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    made = Reports.from_arrays(**REPORTS)
    alike(Reports.from_dataframe(Frame(made.to_arrow())), made)


def test_len_masks_and_rows():
    made = Reports.from_arrays(**REPORTS)
    assert len(made) == 4
    some = made[made.estimates.valid.any(axis=1)]
    assert some.report.tolist() == [0, 1, 3]
    assert made[1:3].report.tolist() == [1, 2]
    assert made[3].position.tolist() == [PLACE[3].tolist()]
    assert made[np.array([3, 0])].report.tolist() == [3, 0]
    echoes = Echoes.from_arrays(**ECHOES)
    assert len(echoes[echoes.target > 0]) == 3
    assert len(Observations.from_arrays(**SEEN)[:2]) == 2
    with pytest.raises(InputError, match=r"a mask needs one entry for each of the 4 sets; got"):
        made[np.ones(3, bool)]


def test_a_repr_tells_counts_spans_and_units():
    shown = repr(Reports.from_arrays(**REPORTS, station="mast"))
    assert "reports         4, 1 outage" in shown
    assert "6 paths, 0 to 3 a set" in shown
    assert "dB" in shown
    assert "mast" in Reports.from_arrays(**REPORTS, station="mast")._repr_html_()
    assert "4 in 4 sets, 1 without an echo" in repr(Echoes.from_arrays(**ECHOES))
    assert "the user known at 0" in repr(Observations.from_arrays(**SEEN))
    traced = []
    jax.eval_shape(lambda r: traced.append(repr(r)) or r.position, Reports.from_arrays(**REPORTS))
    assert "not known yet" in traced[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"departure_azimuth": np.degrees(AZIMUTH)}, "if these are degrees, multiply them by pi"),
        ({"delay": 1e9 * DELAY}, "if these are nanoseconds, multiply them by 1e-9"),
        ({"power": 10 * np.log10(POWER)}, r"if these are decibels, take 10\*\*\(power/10\)"),
        ({"power": np.nan * POWER}, r"'power' must hold numbers \[linear\].*has nan"),
        ({"position": np.nan * PLACE}, r"'x' must hold numbers \[m\].*has nan"),
        ({"delay_std": -1e-9}, r"'delay_std' must not be negative \[s\]"),
        ({"departure_azimuth": AZIMUTH[:2]}, r"needs departure_azimuth of shape \(4, 3\) like del"),
        ({"position": PLACE[:, :2]}, r"needs position \[m\] of shape \[report, 3\]; got \(4, 2\)"),
        ({"time": [1.0, 2.0]}, r"needs one time for each of the 4 sets, or one for all; got"),
        ({"length": DELAY}, r"takes delay \[s\] or length \[m\], not both"),
        ({"delay": None}, r"needs delay \[s\] or length \[m\] of every path"),
        ({"delay": DELAY[0]}, r"arrays with one row a set and one column a path.*shape \(3,\)"),
        ({"delay": [[1e-7], [1e-7, 2e-7]]}, r"needs delay as numbers in a full array"),
        ({"station_position": {"other": (0, 0, 1)}}, "has no station_position of station 'station"),
        ({"station_position": (0.0, 1.0)}, r"needs station_position as \(x, y, z\) \[m\]"),
    ],
)
def test_arrays_of_another_unit_or_shape_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Reports.from_arrays(**{**REPORTS, **changes})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("Reports.from_arrays")


def test_echoes_and_observations_need_their_errors():
    with pytest.raises(InputError, match=r"Echoes.from_arrays: every echo needs its error"):
        Echoes.from_arrays(**{**ECHOES, "delay_std": None})
    with pytest.raises(InputError, match=r"every observation needs its error"):
        Observations.from_arrays(**{**SEEN, "angle_std": None})
    with pytest.raises(InputError, match="'time' must not run backwards"):
        Observations.from_arrays(**{**SEEN, "time": [3.0, 2.0, 1.0, 0.0]})
    with pytest.raises(InputError, match=r"needs user_position \[m\] of shape \[time, 3\]"):
        Observations.from_arrays(**SEEN, user_position=PLACE[:, :2])


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("r.parquet", r"needs a data frame, but got the path 'r.parquet'; read it with read_repo"),
        (3, "needs a data frame of pandas or polars, or an Arrow table; got a int"),
        ({"report": [1]}, "Reports.from_dataframe has no column 'station'"),
    ],
)
def test_what_is_no_data_frame_is_refused(frame, sentence):
    with pytest.raises(InputError, match=sentence):
        Reports.from_dataframe(frame)


def test_a_path_given_for_a_table_is_refused():
    for function in (reports_from_table, echoes_from_table):
        with refused(r"needs Table, but got the path 'r\.csv'"):
            function("r.csv")


def parts(**changes):
    made = Reports.from_arrays(**REPORTS)
    return {f.name: getattr(made, f.name) for f in dataclasses.fields(made)} | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"position": np.zeros((3, 3))}, r"position must have the shape \(4, 3\)"),
        ({"position": np.full((4, 3), np.inf)}, r"position must be finite \[m\], but report 0"),
        ({"position_std": np.full(4, -1.0)}, r"position_std must be finite and not negative \[m\]"),
        ({"time": np.full(4, np.nan)}, r"time must be finite \[s\], but report 0 has nan"),
        ({"station_index": np.full(4, 2)}, "station_index must count the 1 names of station from"),
        ({"station_position": np.zeros((2, 3))}, r"station_position must be one \(x, y, z\) \[m\]"),
        ({"estimates": "r.csv"}, r"Reports needs Paths, but got the path 'r\.csv'"),
    ],
)
def test_the_constructor_refuses_what_a_file_could_not_hold(changes, sentence):
    with refused(sentence):
        Reports(**parts(**changes))


def test_the_constructor_refuses_degrees_and_names_the_report():
    made = Reports.from_arrays(**REPORTS, report=[5, 6, 7, 8])
    wrong = np.where(made.estimates.valid, np.degrees(made.estimates.departure_azimuth), 0.0)
    sneaked = eqx.tree_at(lambda r: r.estimates.departure_azimuth, made, wrong)
    with pytest.raises(InputError, match=r"departure_azimuth must lie .*, but report 5, path 0"):
        dataclasses.replace(sneaked)


def test_arrays_of_jax_meet_the_same_checks():
    reports = Reports.from_arrays(**REPORTS)
    paths = jax.tree.map(jnp.asarray, reports.estimates)
    position = reports.position.copy()
    position[2, 1] = np.nan
    with pytest.raises(InputError, match="position"):
        dataclasses.replace(reports, estimates=paths, position=position)


def test_what_a_report_does_not_know_is_filled_in():
    bare = Paths(
        departure_azimuth=jnp.asarray(AZIMUTH), departure_zenith=jnp.asarray(ZENITH),
        length=jnp.ones((4, 3)), power=jnp.asarray(POWER),
    )  # fmt: skip
    made = Reports(**parts(estimates=bare))
    assert isinstance(made.estimates.length, np.ndarray)
    assert np.isinf(made.estimates.arrival_zenith_std).all()
    assert not made.estimates.length_std.any()
    with pytest.raises(InputError, match="Reports need the power of every path"):
        Reports(**parts(estimates=dataclasses.replace(bare, power=None)))


def test_reports_cannot_be_made_under_a_transformation():
    def inside(length):
        bare = Paths(departure_azimuth=length, departure_zenith=length, length=length, power=length)
        return Reports(**parts(estimates=bare)).position

    with pytest.raises(InputError, match="Reports needs values in host memory and cannot"):
        jax.jit(inside)(jnp.ones((4, 3)))


@pytest.mark.parametrize("verb", [make_echoes, summarize_reports, fit_map, write_reports])
def test_what_needs_values_cannot_run_under_a_transformation(verb):
    def inside(reports):
        verb(reports, *{make_echoes: [jax.random.key(0)], write_reports: ["r.csv"]}.get(verb, []))
        return reports.position

    made = Reports.from_arrays(**REPORTS)
    with pytest.raises(InputError, match="cannot run inside jit, vmap or grad; call it outside"):
        jax.jit(inside)(made)


@pytest.mark.parametrize("verb", [summarize_reports, fit_map, write_reports])
def test_verbs_say_how_reports_are_made(verb):
    more = ["r.csv"] if verb is write_reports else []
    with refused(
        r"needs Reports, but got the path 'r\.parquet'; make them by read_reports\(path\)"
    ):
        verb("r.parquet", *more)
    with refused(r"needs Reports, but got a value of type builtins\.dict; make them by read_rep"):
        verb({"report": [1]}, *more)


@pytest.mark.slow
def test_a_map_of_reports_runs_under_every_transformation():
    channel_map = fit_map(Reports.from_arrays(**REPORTS), NearestReports())

    def length(position):
        return channel_map(position).length[0]

    place = jnp.asarray(PLACE[:2] + 0.1)
    slope = jax.jit(jax.vmap(jax.grad(length)))(place)
    step = 1e-4 * jnp.array([0.6, -0.3, 0.2])
    for row in range(2):
        moved = length(place[row] + step) - length(place[row] - step)
        assert 2 * slope[row] @ step == pytest.approx(float(moved), rel=1e-4)


def test_observations_rise_in_time():
    made = Observations.from_arrays(**SEEN)
    with pytest.raises(InputError, match=r"times of observations must rise \[s\], but 0 follows 3"):
        made[np.array([3, 0])]


def test_an_arrow_table_is_told_from_a_mapping():
    with pytest.raises(InputError, match="has no column 'report'"):
        reports_from_table(pa.table({"a": [1]}))
