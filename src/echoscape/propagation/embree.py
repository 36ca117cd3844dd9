"""Intel's Embree in place of the built-in tree of boxes, ten times faster on a processor.

Where it cannot be installed nothing changes but the time.  Both answer in single precision; the
built-in tree also runs compiled, and on other devices.

Takes a `Mesh`, and rays.
Gives distances and faces.
"""

import importlib
import importlib.util
from typing import Any

import jax
import numpy as np

from echoscape.scene.mesh import Mesh

_NEAR = 1e-4  # a ray leaves the face it starts on, as in the built-in tree [m]


def build_native(mesh: Mesh) -> Any:
    """Hand the triangles to Embree; None where it is not installed or JAX computes elsewhere."""
    if importlib.util.find_spec("embreex") is None or jax.default_backend() != "cpu":
        return None
    scene = importlib.import_module("embreex.rtcore_scene").EmbreeScene(robust=True)
    triangles = np.ascontiguousarray(mesh.triangle, np.float32)
    importlib.import_module("embreex.mesh_construction").TriangleMesh(scene, triangles)
    return scene


def cast_native(
    scene: Any, start: np.ndarray, direction: np.ndarray, reach: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find what each ray meets first: how far [m], infinite for nothing, and which face, or -1."""
    begin = np.ascontiguousarray(start + _NEAR * direction, np.float32)
    ahead = np.ascontiguousarray(direction, np.float32)
    limit = np.full(len(begin), np.inf if reach is None else 0.0, np.float32)
    if reach is not None:
        limit[:] = np.maximum(reach - _NEAR, 0.0)
    finite = np.where(np.isfinite(limit), limit, np.float32(1e30))
    if len(begin) == 0:
        return np.zeros(0), np.zeros(0, np.int32)
    found = scene.run(begin, ahead, dists=finite, output=1)
    face = np.asarray(found["primID"], np.int32)
    away = np.where(face < 0, np.inf, found["tfar"].astype(float) + _NEAR)
    return away, face
