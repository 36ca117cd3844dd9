"""Every result draws itself on axes, labelled, and shows what it holds."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, QuadMesh
from matplotlib.figure import Figure

from echoscape.channel_map import load_maps
from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.checks import InputError
from echoscape.imaging import VoxelImage
from echoscape.imaging.voxel_image import Certificate, ImageStatus
from echoscape.localization import Fix, FixStatus
from echoscape.localization.bounds.fisher import Bound
from echoscape.localization.moving.particle_filter import TargetTrack
from echoscape.plotting.results import plot
from echoscape.plotting.style import SINGLE
from echoscape.reports import read_observations
from echoscape.sample import load_sample
from echoscape.scene.voxel_grid import VoxelGrid
from tests.tracking.test_forecast import exact_tracks

MAPS = pathlib.Path(__file__).resolve().parents[1] / "data/maps_0.1"


def made_fix():
    """Three located targets, one flagged with an alternative, one without echoes."""
    position = np.zeros((5, 2, 3))
    position[:, 0, :2] = [[3.0, 4.0], [8.0, 1.0], [12.0, 9.0], [5.0, 7.0], [0.0, 0.0]]
    position[3, 1, :2] = [1.0, 11.0]
    covariance = np.zeros((5, 2, 3, 3))
    covariance[..., 0, 0], covariance[..., 1, 1] = 0.04, 0.01
    probability = np.tile([1.0, 0.0], (5, 1))
    probability[3] = [0.7, 0.3]
    status = np.array([*[FixStatus.LOCATED] * 3, FixStatus.AMBIGUOUS, FixStatus.NO_ECHO])
    return Fix(
        np.arange(5), position, covariance, np.zeros((5, 2)), probability,
        np.ones((5, 2), int), np.ones(5, int), status, probability > 0,
    )  # fmt: skip


def made_bound(place):
    error = 0.5 + np.arange(len(place))
    covariance = 0.5 * error[:, None, None] ** 2 * np.eye(2)
    observed = np.arange(len(place)) > 0
    covariance[0] = np.where(np.eye(2) > 0, np.inf, 0.0)
    return Bound(place, np.zeros((len(place), 2, 2)), covariance, observed, np.full(len(place), 3))


def made_grid():
    x, y = np.meshgrid(np.arange(4.0), 2.0 * np.arange(5.0), indexing="ij")
    return np.c_[x.ravel(), y.ravel(), np.full(20, 1.5)]


def made_image():
    shape = (3, 4, 2)
    mean = np.zeros(shape)
    mean[1, 2, 0], mean[2, 0, 1] = 0.5, 1.0
    return VoxelImage(
        grid=VoxelGrid((0.0, 0.0, 0.0), shape, 0.5), mean=mean, variance=0 * mean,
        occupancy=(mean > 0).astype(float), unseen=np.zeros(shape, bool),
        visibility=np.ones((2, *shape), bool), noise_variance=1.0, iterations=3,
        status=ImageStatus.CONVERGED, certificate=Certificate(1.0, 1.1, True),
    )  # fmt: skip


def made_track():
    way = np.c_[np.arange(6.0), 0.5 * np.arange(6.0), np.full(6, 1.5)]
    return TargetTrack(
        np.arange(6.0), way, np.tile(0.1 * np.eye(2), (6, 1, 1)), np.ones((6, 2)),
        np.zeros(6, int), np.zeros(6, int),
    )  # fmt: skip


def made_channel():
    coefficient = np.ones((4, 2, 3, 2), complex) * [1.0, 0.1]
    delay = np.array([[50e-9, 90e-9]]) + 1e-9 * np.arange(4)[:, None]
    return ChannelRealization(
        jnp.asarray(coefficient), jnp.asarray(delay), jnp.arange(4.0), carrier_frequency=28e9
    )


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def results(sample):
    """One of each kind."""
    files = pathlib.Path(__file__).resolve().parents[2] / "src/echoscape/sample/files"
    return {
        "fix": made_fix(),
        "bound": made_bound(made_grid()),
        "image": made_image(),
        "target track": made_track(),
        "tracks": exact_tracks(),
        "channel": made_channel(),
        "reports": sample.reports,
        "paths": sample.reports.estimates,
        "observations": read_observations(files / "observations.parquet"),
        "map": next(iter(load_maps(MAPS / "virtual_anchors").values())),
    }


KINDS = ("fix", "bound", "image", "target track", "tracks", "channel", "reports", "paths",
         "observations", "map")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_itself_with_labels_and_a_title(kind, results):
    axes = results[kind].plot(width=SINGLE)
    assert isinstance(axes, Axes)
    assert axes.figure.get_figwidth() == SINGLE
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert "[" in axes.get_xlabel()
    assert axes.get_title() or axes.get_title(loc="left")


def test_it_draws_on_the_axes_that_are_given(results):
    left, right = Figure().subplots(1, 2)
    assert results["fix"].plot(axes=left) is left
    assert results["bound"].plot(axes=right) is right
    assert left.has_data()
    assert right.has_data()


def test_a_fix_shows_each_status_and_the_size_of_its_ellipses():
    axes = made_fix().plot()
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["alternatives (1)", "flagged (1)", "located (3)"]
    assert "4 detected of 5 targets" in axes.get_title(loc="left")
    # 2 sqrt(chi2_2(0.9)) 0.2 m
    assert "0.86 m long" in axes.get_title(loc="left")
    drawn = [each for each in axes.collections if isinstance(each, EllipseCollection)]
    assert sum(len(each.get_offsets()) for each in drawn) == 4
    assert all(each.get_linewidth()[0] > 0 for each in drawn)  # seen where it is small


def test_a_fix_beside_its_map_shows_walls_and_looks_at_the_fixes(results):
    item = results["map"]
    alone = made_fix().plot()
    beside = made_fix().plot(maps=item)
    assert "reports" in beside.get_legend_handles_labels()[1]
    walls = [each for each in beside.collections if isinstance(each, LineCollection)]
    assert len(walls) == 1
    assert len(walls[0].get_segments()) > 0
    station = np.asarray(item.station_position)[:2]
    for limits, value in zip((beside.get_xlim(), beside.get_ylim()), station):
        assert limits[0] < value < limits[1]
    assert not [each for each in alone.collections if isinstance(each, LineCollection)]


def test_a_bound_on_a_grid_is_a_heat_map_and_elsewhere_dots(results):
    (cells,) = (e for e in results["bound"].plot().collections if isinstance(e, QuadMesh))
    value = cells.get_array()
    assert value.shape == (5, 4)  # rows along y
    assert value.mask[0, 0]  # not observed
    assert value[3, 2] == pytest.approx(0.5 + 2 * 5 + 3)  # x = 2, y = 6
    place = made_grid() + np.random.default_rng(0).normal(0, 0.2, (20, 3))
    drawn = made_bound(place).plot().collections
    assert not [each for each in drawn if isinstance(each, QuadMesh)]


def test_a_channel_shows_powers_of_all_antennas_in_decibels():
    axes = made_channel().plot()
    (cells,) = (each for each in axes.collections if isinstance(each, QuadMesh))
    level = np.ma.compressed(cells.get_array())
    np.testing.assert_allclose(np.unique(level.round(6)), [-20.0, 0.0])


def test_users_and_stations_stand_beside_an_image():
    axes = made_image().plot(user_position=np.ones((2, 3)), station_position=np.zeros((1, 3)))
    assert axes.get_legend_handles_labels()[1] == ["users", "stations"]
    assert axes.get_zlabel() == "z [m]"


def test_what_has_no_figure_says_so():
    with pytest.raises(InputError, match="there is no figure of a dict"):
        plot({})
