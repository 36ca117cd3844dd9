"""Sionna RT as a source of paths: a scene and a route in, our paths with identities out.

Four of its habits would spoil a route unseen.  Receivers of one call share a table of candidates,
so many at once lose paths in silence: here few are traced together.  Rays pass through houses by
default: here they do not.  Its coefficients lack the carrier's phase: here it is put in.  And its
objects are no walls, since scenes merge buildings: here faces that lie in one plane and touch are
one wall, and a path's identity is its sequence of walls.

It runs on LLVM from version 17 on; older ones fail, some by ending the program, so a small solve is
tried in a process of its own first.

Takes a Sionna RT scene, or the name of one of its own, and a route.
Gives `TracedRoute`.
"""

import ctypes.util
import functools
import glob
import importlib
import os
import re
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.extras import missing, sentence
from echoscape.propagation.path import Paths
from echoscape.propagation.traced_route import TracedRoute
from echoscape.scene.mesh import Mesh, make_mesh
from echoscape.units import length_of

OLDEST_LLVM = 17
"""Oldest LLVM with which Sionna RT solves."""
TOGETHER = 16
"""Receivers traced in one call; more lose paths."""
_FOLDERS = (
    "/usr/lib/*-linux-gnu",
    "/usr/lib/llvm-*/lib",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
    "/usr/local/opt/llvm*/lib",
)
_DIFFUSE = 2  # Sionna's number of that interaction
_PROBE = """
import sionna.rt as rt
scene = rt.load_scene()
array = rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
scene.tx_array = scene.rx_array = array
scene.add(rt.Transmitter("t", position=[0.0, 0.0, 1.0]))
scene.add(rt.Receiver("r", position=[3.0, 4.0, 1.0]))
found = rt.PathSolver()(scene, max_depth=1, samples_per_src=1000)
assert abs(float(found.tau.numpy().ravel()[0]) * 299792458.0 - 5.0) < 1e-3
"""


@functools.lru_cache(maxsize=1)
def why_not() -> str | None:
    """Say in one sentence why Sionna RT cannot run here, or None where it can."""
    if missing("rt"):
        return sentence("rt", "Sionna RT")
    library = find_llvm()
    if library is None:
        return (
            f"Sionna RT needs LLVM {OLDEST_LLVM} or newer, and none was found; install one, on "
            "Debian by `apt-get install libllvm19`, or name it in DRJIT_LIBLLVM_PATH"
        )
    os.environ["DRJIT_LIBLLVM_PATH"] = library
    tried = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300, check=False
    )
    if tried.returncode == 0:
        return None
    last = (tried.stderr.strip().splitlines() or [f"it ended by signal {-tried.returncode}"])[-1]
    return (
        f"Sionna RT does not solve with {library} ({last[:120]}); name an LLVM of version "
        f"{OLDEST_LLVM} or newer in DRJIT_LIBLLVM_PATH"
    )


def find_llvm() -> str | None:
    """Find the LLVM library to use: the one that is named, else the newest that is new enough."""
    named = os.environ.get("DRJIT_LIBLLVM_PATH")
    if named:
        return named
    found = {
        path: version_of(path)
        for folder in _FOLDERS
        for pattern in ("libLLVM*.so*", "libLLVM*.dylib")
        for path in glob.glob(os.path.join(folder, pattern))
    }
    new = {path: version for path, version in found.items() if version >= OLDEST_LLVM}
    if new:
        return max(new, key=lambda path: (new[path], -len(path)))
    known = ctypes.util.find_library("LLVM")
    return known if known and version_of(known) >= OLDEST_LLVM else None


def version_of(path: str) -> int:
    """Read the major version from the name of an LLVM library; 0 where it has none."""
    match = re.search(r"libLLVM(?:\.so\.|-)(\d+)", os.path.basename(os.path.realpath(path)))
    return int(match[1]) if match else 0


def trace_sionna(
    scene: Any,
    station: Float[np.ndarray, "3"],
    time: Float[np.ndarray, " time"],
    position: Float[np.ndarray, "time 3"],
    velocity: Float[np.ndarray, "time 3"],
    carrier_frequency: float,
    *,
    depth: int = 3,
    rays: int = 1_000_000,
    diffuse: bool = False,
    seed: int = 1,
) -> TracedRoute:
    """Trace a route of a user with isotropic antennas of both polarisations at both ends.

    Args:
        scene: A scene of Sionna RT, or the name of one that it brings, such as ``munich``.  Its
            antennas, transmitters, receivers and carrier are replaced.
        station: Position of the station, the transmitter [m].
        time: When the user is where, rising [s].
        position: Where [m].
        velocity: How fast, for Doppler [m/s].
        carrier_frequency: Carrier [Hz].
        depth: Most interactions.
        rays: How many are launched from the station.
        diffuse: Scatter diffusely too, off surfaces whose material does.
        seed: Of random interactions; specular paths do not depend on it.

    Returns:
        Every path that it found, one for each sequence of walls and place: doubles that it finds
        now and then are left out.  Paths of one sequence share an identity.

    Raises:
        InputError: Sionna RT cannot run, or has no such scene.
    """
    problem = why_not()
    if problem is not None:
        raise InputError(problem)
    rt = importlib.import_module("sionna.rt")
    if isinstance(scene, str):
        if not hasattr(rt.scene, scene):
            raise InputError(f"Sionna RT brings no scene {scene!r}; one of its own was needed")
        scene = rt.load_scene(getattr(rt.scene, scene))
    for name in (*scene.transmitters, *scene.receivers):
        scene.remove(name)
    scene.frequency = carrier_frequency
    scene.tx_array = scene.rx_array = rt.PlanarArray(
        num_rows=1, num_cols=1, pattern="iso", polarization="VH"
    )
    scene.add(rt.Transmitter("station", position=_floats(station)))
    wall = _walls(scene)
    solver, batches = rt.PathSolver(), []
    for begin in range(0, len(time), TOGETHER):
        here = range(begin, min(begin + TOGETHER, len(time)))
        for k in here:
            receiver = rt.Receiver(f"user-{k}", position=_floats(position[k]))
            receiver.velocity = _floats(velocity[k])
            scene.add(receiver)
        found = solver(
            scene, max_depth=depth, samples_per_src=rays, max_num_paths_per_src=5 * rays,
            synthetic_array=True, los=True, specular_reflection=True, diffuse_reflection=diffuse,
            refraction=False, seed=seed,
        )  # fmt: skip
        batches.append(_rows(found, wall, begin))
        for k in here:
            scene.remove(f"user-{k}")
    columns = {name: np.concatenate([b[name] for b in _alike(batches)]) for name in batches[0]}
    return _lay_out(columns, station, time, position, velocity, carrier_frequency)


def sionna_mesh(scene: Any) -> Mesh:
    """Take the triangles of a Sionna RT scene, with their walls, for everything built in here."""
    return make_mesh(*_triangles(scene)[:2])


def _triangles(scene: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collect corners, faces, and the object of each face."""
    vertex, face, owner, shift = [], [], [], 0
    for item in scene.objects.values():
        shape = item.mi_mesh
        corners = np.array(shape.vertex_positions_buffer(), float).reshape(-1, 3)
        faces = np.array(shape.faces_buffer(), np.int64).reshape(-1, 3)
        vertex.append(corners)
        face.append(faces + shift)
        owner += [int(item.object_id)] * len(faces)
        shift += len(corners)
    return np.concatenate(vertex), np.concatenate(face), np.array(owner)


def _walls(scene: Any) -> dict[int, np.ndarray]:
    """Give the wall of each face, for each object by its number."""
    corners, faces, owners = _triangles(scene)
    a, b, c = corners[faces].transpose(1, 0, 2)
    flat = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-9  # the others `make_mesh` drops
    wall = np.full(len(faces), -1)
    wall[flat] = make_mesh(corners, faces[flat]).wall
    return {int(number): wall[owners == number] for number in np.unique(owners)}


def _rows(found: Any, wall: dict[int, np.ndarray], begin: int) -> dict[str, np.ndarray]:
    """Read the valid paths of one call, a row each."""
    valid = np.array(found.valid)[:, 0].astype(bool)
    receiver, slot = np.nonzero(valid)

    def pick(values: Any) -> np.ndarray:
        return np.array(values)[..., receiver, 0, slot].T

    kind, thing, part = (
        pick(x).astype(np.int64) for x in (found.interactions, found.objects, found.primitives)
    )
    where = np.moveaxis(np.array(found.vertices, float)[:, receiver, 0, slot], 0, 1)
    there = kind > 0
    key = np.full((*kind.shape, 2), -1)
    key[..., 0] = kind
    for number, walls in wall.items():
        mine = there & (thing == number)
        key[mine, 1] = walls[part[mine]]
    # a diffuse point is a place on its wall, and no other face tells it from the next
    diffuse = kind == _DIFFUSE
    key[diffuse, 1] = -2 - np.where(diffuse, np.cumsum(diffuse, axis=1), 0)[diffuse]
    real, imaginary = (np.array(x, float)[receiver, :, 0, :, slot] for x in found.a)
    return {
        "place": receiver + begin,
        "jones": real + 1j * imaginary,
        "delay": pick(found.tau).astype(float),
        "angles": np.stack(
            [pick(getattr(found, n)) for n in ("phi_t", "theta_t", "phi_r", "theta_r")], axis=1
        ).astype(float),
        "doppler": pick(found.doppler).astype(float),
        "key": key,
        "vertex": where,
    }


def _alike(batches: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Pad the interactions of all batches to one depth."""
    deepest = max(batch["key"].shape[1] for batch in batches)
    for batch in batches:
        for name, empty in (("key", 0), ("vertex", 0.0)):
            missing = deepest - batch[name].shape[1]
            batch[name] = np.pad(batch[name], ((0, 0), (0, missing), (0, 0)), constant_values=empty)
    return batches


def _lay_out(
    rows: dict[str, np.ndarray], station, time, position, velocity, carrier_frequency: float
) -> TracedRoute:
    """Pad rows to sets, without doubles."""
    station, position = np.asarray(station, float), np.asarray(position, float)
    power = np.sum(np.abs(rows["jones"]) ** 2, axis=(1, 2))
    kind = rows["key"][..., 0]
    sequence = np.where((kind > 0)[..., None], rows["key"], 0).reshape(len(power), -1)
    diffuse = (kind == _DIFFUSE).any(axis=1)
    point = np.where(diffuse[:, None, None], np.round(100 * rows["vertex"]), 0).astype(np.int64)
    sequence = np.concatenate([sequence, point.reshape(len(power), -1)], axis=1)
    identity = np.unique(sequence, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((-power, identity, rows["place"]))
    same = np.zeros(len(power), bool)
    same[order[1:]] = (identity[order[1:]] == identity[order[:-1]]) & (
        rows["place"][order[1:]] == rows["place"][order[:-1]]
    )
    order = np.lexsort((-power, rows["place"]))
    order = order[~same[order]]
    place = rows["place"][order]
    slot = np.arange(len(place)) - np.searchsorted(place, place)
    shape = (len(time), int(slot.max(initial=0)) + 1)

    def lay(values: np.ndarray) -> np.ndarray:
        laid = np.zeros((*shape, *values.shape[1:]), values.dtype)
        laid[place, slot] = values[order]
        return laid

    bounces = np.sum(kind > 0, axis=1)
    at = np.maximum(bounces - 1, 0)
    direct = (bounces == 0)[:, None]
    end = position[rows["place"]]
    first = np.where(direct, end, rows["vertex"][:, 0])
    last = np.where(direct, station, rows["vertex"][np.arange(len(at)), at])
    back = last - end
    own = np.stack([np.arctan2(back[:, 1], back[:, 0]),
                    np.arctan2(np.hypot(back[:, 0], back[:, 1]), back[:, 2])], axis=1)  # fmt: skip
    # the solver leaves a surface by an offset, which turns the arrival of diffuse paths
    arrival = np.where(diffuse[:, None], own, rows["angles"][:, 2:])
    turn = carrier_frequency * rows["delay"]
    gain = rows["jones"][:, 0, 0] * np.exp(-2j * np.pi * (turn - np.round(turn)))
    paths = Paths(
        gain=jnp.asarray(lay(gain)),
        length=jnp.asarray(length_of(lay(rows["delay"]))),
        departure_azimuth=jnp.asarray(lay(rows["angles"][:, 0])),
        departure_zenith=jnp.asarray(lay(rows["angles"][:, 1])),
        arrival_azimuth=jnp.asarray(lay(arrival[:, 0])),
        arrival_zenith=jnp.asarray(lay(arrival[:, 1])),
        doppler=jnp.asarray(lay(rows["doppler"])),
        bounces=jnp.asarray(lay(bounces)),
        first_bounce=jnp.asarray(lay(first)),
        last_bounce=jnp.asarray(lay(last)),
        identity=jnp.asarray(lay(np.where(bounces == 0, -1, identity))),
        valid=jnp.asarray(lay(np.ones(len(power), bool))),
    )
    return TracedRoute(
        np.asarray(time, float), position, np.asarray(velocity, float), station, paths,
        lay(rows["jones"]), carrier_frequency,
    )  # fmt: skip


def _floats(point: Any) -> list[float]:
    """Spell a point in Python's own floats: Sionna RT refuses NumPy's."""
    return [float(x) for x in np.asarray(point).reshape(3)]
