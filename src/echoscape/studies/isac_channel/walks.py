"""A family of walks, drives and flights through small scenes whose paths come from images in walls.

Every scene is a handful of vertical walls and a ground; none is aligned with the axes.  A route is
a motion with its true paths, to be observed with noise, misses and false detections by
`observe_route`.

Takes the name of a scene.
Gives a `Route`.
"""

import functools

import jax.numpy as jnp
import numpy as np

from echoscape.propagation.ray_cast import build_tree, enclosed
from echoscape.propagation.wall_images import trace
from echoscape.scene.mesh import Mesh, make_mesh
from echoscape.studies.isac_channel.world import CARRIER, Route, lay_out, measured_paths

TURN = np.array([[np.cos(0.23), -np.sin(0.23)], [np.sin(0.23), np.cos(0.23)]])
"""Every scene is turned by 0.23 rad, so that no wall runs along an axis."""


def buildings(footprints, height, ground=500.0):
    """Make a mesh of prisms over polygons and of a level ground.

    Args:
        footprints: Polygons, a list of corners (x, y) each [m].
        height: Of every wall [m].
        ground: Half the side of the ground [m].
    """
    vertex, face = [], []
    for corners in footprints:
        for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]]):
            base = len(vertex)
            vertex += [[ax, ay, 0], [bx, by, 0], [bx, by, height], [ax, ay, height]]
            face += [[base, base + 1, base + 2], [base, base + 2, base + 3]]
    base, g = len(vertex), ground
    vertex += [[-g, -g, 0], [g, -g, 0], [g, g, 0], [-g, g, 0]]
    face += [[base, base + 1, base + 2], [base, base + 2, base + 3]]
    vertex = np.array(vertex, float)
    vertex[:, :2] = vertex[:, :2] @ TURN.T
    return make_mesh(vertex, np.array(face))


def box(x, y, width, depth):
    """List the corners of a rectangle.

    Args:
        x: Its west side [m].
        y: Its south side [m].
        width: Eastward [m].
        depth: Northward [m].
    """
    return [(x, y), (x + width, y), (x + width, y + depth), (x, y + depth)]


def motion(corners, speeds, rate, height, turning=1.0, frame=TURN):
    """Move along corners, each leg at a speed, through corners and stops without jumps.

    Args:
        corners: Points in the plane [m].
        speeds: Of each leg; a number of seconds as a tuple is a stop there [m/s].
        rate: Instants a second [Hz].
        height: Of the user, or one for each corner [m].
        turning: Time over which the velocity changes [s].
        frame: Rotation of the plane.
    """
    height = np.broadcast_to(np.asarray(height, float), len(corners))
    points = np.c_[np.asarray(corners, float), height]
    fine = 100.0
    velocity, leg = [], 0
    for speed in speeds:
        if isinstance(speed, tuple):
            velocity.append(np.zeros((int(speed[0] * fine), 3)))
            continue
        ahead = points[leg + 1] - points[leg]
        length = np.linalg.norm(ahead)
        count = max(1, round(length / speed * fine))
        velocity.append(np.tile(ahead / (count / fine), (count, 1)))
        leg += 1
    velocity = np.concatenate(velocity)
    width = max(1, int(turning * fine))
    padded = np.concatenate(
        [np.tile(velocity[0], (width, 1)), velocity, np.tile(velocity[-1], (width, 1))]
    )
    kernel = np.hanning(width + 2)[1:-1]
    smooth = np.stack(
        [np.convolve(padded[:, i], kernel / kernel.sum(), mode="same") for i in range(3)], 1
    )[width:-width]
    place = points[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(smooth, axis=0) / fine])[:-1]
    every = np.arange(0, len(place), round(fine / rate))
    place, speed = place[every], smooth[every]
    place[:, :2], speed[:, :2] = place[:, :2] @ frame.T, speed[:, :2] @ frame.T
    return every / fine, place, speed


def trace_walk(
    mesh: Mesh, station, time, position, velocity, *, depth=3, rays=40_000, dynamic_range=25.0
) -> Route:
    """Trace the paths along a motion.

    Args:
        mesh: The walls.
        station: Position of the station [m].
        time: Instants of the motion [s].
        position: Where the user is then [m].
        velocity: How fast [m/s].
        depth: Most reflections.
        rays: How many are launched.
        dynamic_range: Paths further below the strongest are left out [dB].
    """
    tree = build_tree(mesh)
    inside = np.asarray(enclosed(tree, jnp.asarray(position)))
    if inside.any():
        raise ValueError(f"the walk enters a building at {position[np.argmax(inside)]}")
    found = trace(mesh, station, position, CARRIER, depth=depth, rays=rays, tree=tree)
    path, power = measured_paths(found, station, position)
    laid = lay_out(found.place, path, power, len(time), dynamic_range)
    return Route(time, position, velocity, np.asarray(station, float), *laid)


def turned(x, y, z):
    """Turn a place as the scenes are turned [m]."""
    return np.r_[TURN @ np.array([x, y]), z]


def room(rate=10.0):
    """Walk round a room of 12 by 8 m, no ceiling, the station in a corner."""
    mesh = buildings([box(0, 0, 12, 8)], 40.0, ground=60.0)
    corners = [(3, 2), (9, 2.5), (9.5, 6), (4, 5.5), (3, 3)]
    return mesh, turned(0.7, 7.2, 2.6), motion(corners, [0.8] * 4, rate, 1.2)


def corridor(rate=10.0):
    """Walk along an L of two corridors 3 m wide; the station is at the end of the first."""
    outline = [(0, 0), (30, 0), (30, 25), (27, 25), (27, 3), (0, 3)]
    mesh = buildings([outline], 40.0, ground=60.0)
    corners = [(4, 1.4), (28.6, 1.7), (28.4, 8)]  # no path of three reflections farther on
    return mesh, turned(1.0, 1.9, 2.4), motion(corners, [1.1, 1.1], rate, 1.3)


_STREETS = [
    box(-120, 12, 110, 60),
    box(12, 14, 120, 60),
    box(-125, -70, 113, 58),
    box(10, -75, 118, 62),
    box(-40, 130, 90, 30),
]


def street(rate=10.0):
    """Walk along a street, stop for 4 s, turn at a crossing, in sight nearly all the way."""
    mesh = buildings(_STREETS, 22.0)
    corners = [(-60, -3), (-20, -2), (2, -1), (4, 35)]
    return mesh, turned(-100, 7, 9.0), motion(corners, [1.3, (4.0,), 1.2, 1.2], rate, 1.3)


def into_shadow(rate=10.0):
    """Walk along a street and turn by 90 degrees into another, out of sight."""
    mesh = buildings(_STREETS, 22.0)
    corners = [(-45, -4), (1, -3), (2, -38)]  # paths end beyond
    return mesh, turned(-100, 7, 9.0), motion(corners, [1.3, 1.3], rate, 1.3)


def car(rate=10.0):
    """Drive along a street at 11 m/s, brake, turn, and speed up again."""
    mesh = buildings(_STREETS, 22.0)
    corners = [(-95, -3), (-20, -3), (-3, -3), (4, 6), (4, 45)]
    return mesh, turned(-105, 7, 9.0), motion(corners, [11, 6, 5, 10], rate, 1.5, 2.5)


def uav(rate=10.0):
    """Rise from 2 to 50 m beside houses and fly a bend in sight of the station."""
    mesh = buildings(_STREETS, 22.0)
    corners = [(-50, -3), (-45, -2), (20, 10), (60, 60), (20, 110)]
    height = [2.0, 35.0, 50.0, 40.0, 30.0]
    return mesh, turned(-100, 7, 32.0), motion(corners, [2.5, 6, 7, 6], rate, height, 2.0)


SCENES = {f.__name__: f for f in (room, corridor, street, into_shadow, car, uav)}
"""Each gives walls, the station and a motion: times, positions and velocities."""


@functools.cache
def scene_route(name, rate=10.0):
    """Trace the walk of a scene once.

    Args:
        name: One of `SCENES`.
        rate: Instants a second [Hz].
    """
    mesh, station, walk = SCENES[name](rate)
    return trace_walk(mesh, station, *walk, depth=4)
