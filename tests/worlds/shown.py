"""A small world in which everything that a page can show is there, none of it symmetric."""

import numpy as np

from echoscape.communication.at_place import BeamForecast, PathForecast, PlaceForecast
from echoscape.imaging.voxel_image import Certificate, ImageStatus, VoxelImage
from echoscape.reports import Reports
from echoscape.scene import PlanarArray, Site
from echoscape.scene.mesh import make_mesh
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.viewer.assemble import Results
from echoscape.viewer.scene import PlaceMark

STATION = np.array([3.0, -4.0, 12.0])
BEYOND = 1.0 + 10 * np.random.default_rng(9).uniform(size=40) ** 2
"""By how much each report's only path is longer than the straight line [m]."""


def box_mesh():
    """A house of 20 m by 14 m by 9 m beside the origin, and no ground."""
    low, high = np.array([30.0, 5.0, 0.0]), np.array([50.0, 19.0, 9.0])
    corner = np.array([[(low, high)[b >> k & 1][k] for k in range(3)] for b in range(8)])
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    return make_mesh(corner, np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]))


def some_reports():
    count, rng = 40, np.random.default_rng(3)
    position = np.c_[rng.uniform(0, 60, count), rng.uniform(-20, 30, count), np.full(count, 1.5)]
    away = position - STATION
    distance = np.linalg.norm(away, axis=1)
    return Reports.from_arrays(
        position=position, station_position=STATION, station="roof",
        departure_azimuth=np.arctan2(away[:, 1], away[:, 0])[:, None],
        departure_zenith=np.arccos(away[:, 2] / distance)[:, None],
        length=(distance + BEYOND)[:, None], power=(1e-7 / distance**2)[:, None],
    )  # fmt: skip


def some_fixes():
    return {
        "target": np.array([7, 7, 8, 9]), "rank": np.array([0, 1, 0, 0]),
        "x": np.array([20.0, 26.0, 41.0, 5.0]), "y": np.array([22.0, 21.0, -9.0, 5.0]),
        "z": np.full(4, 1.5), "cov_xx": np.array([4.0, 1.0, 0.04, 1.0]),
        "cov_yy": np.array([1.0, 1.0, 0.01, 1.0]), "cov_zz": np.zeros(4),
        "status": np.array(["located", "located", "ambiguous", "no_echo"]),
        "probability": np.array([0.9, 0.1, 0.6, 1.0]),
    }  # fmt: skip


def some_track():
    time = np.linspace(10.0, 20.0, 21)
    return {
        "time": time, "x": 5 + 3 * (time - 10), "y": -10 + 0.5 * (time - 10),
        "z": np.full(21, 1.5), "vx": np.full(21, 3.0), "cov_xx": np.full(21, 0.09),
        "cov_yy": np.full(21, 0.25), "status": np.array(["tracked"] * 21),
    }  # fmt: skip


def some_image():
    shape = (6, 5, 4)
    rng = np.random.default_rng(5)
    occupancy = rng.uniform(0, 1, shape)
    return VoxelImage(
        grid=VoxelGrid((30.0, -20.0, 0.0), shape, 1.5), mean=rng.normal(size=shape) + 0j,
        variance=np.full(shape, 0.04), occupancy=occupancy, unseen=np.zeros(shape, bool),
        visibility=np.ones((2, *shape), bool), noise_variance=1e-3, iterations=5,
        status=ImageStatus.CONVERGED, certificate=Certificate(1.0, 1.2, True),
    )  # fmt: skip


def some_bound():
    x, y = (each.ravel() for each in np.meshgrid(np.arange(0, 30, 3.0), np.arange(-9, 9, 3.0)))
    bound = 0.2 + 0.01 * x
    bound[4] = np.nan
    return {"x": x, "y": y, "z": np.full(len(x), 1.5), "bound": bound}


def some_site():
    array = PlanarArray(rows=8, columns=4, azimuth=0.7, tilt=0.1)
    return Site(
        carrier_frequency=28e9, bandwidth=4e8, station=("roof",), station_position=STATION[None],
        array=(array,), bounds=np.array([[0, -20, 0], [60, 30, 20.0]]),
        scatterer_position=np.zeros((0, 3)), scatterer_cross_section=np.zeros(0),
    )  # fmt: skip


def everything():
    return Results(
        reports=some_reports(), fixes=some_fixes(), tracks=[some_track()], image=some_image(),
        bound=some_bound(), site=some_site(), mesh=box_mesh(),
    )  # fmt: skip


def forecast(position):
    """Predict two paths and a beam, as a map would."""
    position = np.asarray(position, float)
    away = position - STATION
    distance = float(np.linalg.norm(away))
    azimuth, zenith = float(np.arctan2(away[1], away[0])), float(np.arccos(away[2] / distance))
    said = [
        PathForecast("roof", 0.9, azimuth, zenith, 0.01, 0.01, distance / 3e8, 1e-9, 1e-9),
        PathForecast("roof", 0.4, azimuth + 0.3, zenith, 0.01, 0.01, 90 / 3e8, 1e-9, 1e-10),
    ]
    corner = (STATION + np.array([12.0, 20.0, -3.0])).tolist()
    lines = [[*STATION.tolist(), *position.tolist()],
             [*STATION.tolist(), *corner, *position.tolist()]]  # fmt: skip
    return PlaceMark(
        PlaceForecast(tuple(position.tolist()), 0.0, 4.0, tuple(said),
                      (BeamForecast("roof", 5, 1e-8),)),
        lines, [True, False], [[0.8, 0.6, 0.0]],
    )  # fmt: skip
