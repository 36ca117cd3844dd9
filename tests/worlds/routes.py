"""Walks through cities of ray tracers, whose meshes are files beside the repository."""

from pathlib import Path

import numpy as np

from echoscape.scene.mesh import make_mesh
from echoscape.studies.isac_channel.walks import motion, trace_walk

CITY_WALKS = {
    "munich_a": (
        "munich", (339.5, -88.5, 10.0),
        [(411.5, -44.5), (411.5, -102.5), (387.5, -130.5), (387.5, -169.5), (414.5, -193.5)],
    ),
    "etoile_a": (
        "etoile", (321.5, -6.5, 10.0),
        [(318.5, 2.5), (292.5, 19.5), (281.5, 30.5), (281.5, 39.5), (300.0, 78.0), (282.6, 40.0),
         (282.5, 31.0), (293.0, 20.5), (318.0, 4.0)],
    ),
    "munich_b": (
        "munich", (-167.5, -287.5, 10.0),
        [(-185.9, -318.0), (-187.5, -258.5), (-162.5, -231.5), (-162.5, -199.5), (-163.5, -230.0),
         (-187.0, -260.0), (-186.6, -275.0)],
    ),
    "etoile_b": (
        "etoile", (234.5, -51.5, 10.0),
        [(245.5, -32.5), (231.5, -65.5), (213.5, -91.5), (177.5, -91.5), (155.0, -69.0),
         (178.0, -90.5), (213.0, -92.0), (230.5, -66.0)],
    ),
}  # fmt: skip
"""Walks through cities of ray tracers: mesh, station and corners [m]; each has a stretch with
hardly a path, and the station in sight before it, after it or both."""


def city_route(name, mesh_folder, rate=10.0):
    """Trace a walk through a city, whose mesh is a file of ``mesh_folder``.

    Args:
        name: One of `CITY_WALKS`.
        mesh_folder: Has ``etoile.npz`` and ``munich.npz`` (vertices_m, triangles).
        rate: Instants a second [Hz].
    """
    city, station, corners = CITY_WALKS[name]
    with np.load(Path(mesh_folder) / f"{city}.npz") as stored:
        vertex, face = stored["vertices_m"].astype(float), stored["triangles"]
    corner = vertex[face][..., :2]
    middle = np.mean(corners, axis=0)
    near = (np.abs(corner - middle) < 250.0).all(axis=(1, 2)) | (
        np.ptp(corner, axis=1).max(axis=1) > 250.0
    )
    walk = motion(corners, [1.2] * (len(corners) - 1), rate, 1.3, frame=np.eye(2))
    return trace_walk(make_mesh(vertex, face[near]), np.array(station), *walk)
