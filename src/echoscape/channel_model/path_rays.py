"""The rays of a channel from paths that a ray tracer found, so that it evolves between snapshots.

A path that the tracer found at one place is the same ray at the next where both come from the same
image of the station, whatever the tracer calls them; where that image jumps another ray begins.

Takes a `TracedRoute`.
Gives `RaySet` or, in the paper's form, `BounceRays`; and `Motion`.
"""

import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.ray import Motion, RaySet, spreading
from echoscape.checks import InputError
from echoscape.propagation.traced_route import TracedRoute
from echoscape.units import wrap_angle

LINK = 0.1
"""Furthest that the image of one ray may be from one instant to the next [m]."""


def motion_of(route: TracedRoute) -> Motion:
    """Give the user's motion along a traced route."""
    return Motion(*(jnp.asarray(x) for x in (route.time, route.position, route.velocity)))


def rays_from_paths(route: TracedRoute, between: tuple[float, float] | None = None) -> RaySet:
    """Make a ray of every run of paths that come from one point.

    Paths of one bounce whose bounce point stands still while their image does not are scattered.
    Levels, Jones matrices and presence hold at the route's times and are interpolated between them;
    so a ray comes and goes within one step of the route.

    Args:
        route: The paths.
        between: Keep rays that exist between these times only [s].

    Raises:
        InputError: No path has any power.
    """
    rows = _rows(route, between)
    instant, slot, size = rows

    def pick(values) -> np.ndarray:
        return np.asarray(values)[instant, slot]

    paths, user = route.paths, route.position[instant]
    length = pick(paths.length)
    ray, scattered, image = _runs(route, rows)
    point = pick(paths.last_bounce)
    place = np.where(scattered[:, None], point, image)
    number = int(ray.max()) + 1
    share = np.bincount(ray, minlength=number)

    def mean(values):
        return np.bincount(ray, values, number) / share

    where = np.stack([mean(place[:, i]) for i in range(3)], axis=1)
    out = user - where[ray]
    bearing = np.arctan2(out[:, 1], out[:, 0])
    turned = [pick(paths.departure_azimuth) - s * bearing for s in (1.0, -1.0)]
    middle = [mean(np.cos(t)) + 1j * mean(np.sin(t)) for t in turned]
    mirrored = np.abs(middle[1]) > np.abs(middle[0]) + 1e-12
    rise = np.arctan2(out[:, 2], np.hypot(out[:, 0], out[:, 1]))
    up = 0.5 * np.pi - pick(paths.departure_zenith)
    flipped = mean(np.abs(up + rise)) < mean(np.abs(up - rise))
    diffuse = mean(scattered.astype(float)) > 0.5

    grid = (len(route.time), number)
    legs = np.linalg.norm(where - route.station, axis=1)[ray], np.linalg.norm(out, axis=1)
    raw = 10 * np.log10(pick(size) * np.asarray(spreading(length, *legs, diffuse[ray])))
    gain_db = _fill(raw, instant, ray, grid)
    presence = np.zeros(grid)
    presence[instant, ray] = 1.0
    jones = _changes(route, rows, ray, grid)
    return RaySet(
        station=jnp.asarray(route.station),
        point=jnp.asarray(where),
        scattered=jnp.asarray(diffuse),
        rotation=jnp.asarray(np.angle(np.where(mirrored, middle[1], middle[0]))),
        reflection=jnp.asarray(np.where(mirrored, -1.0, 1.0)),
        vertical_reflection=jnp.asarray(np.where(flipped, -1.0, 1.0)),
        time=jnp.asarray(route.time),
        gain_db=jnp.asarray(gain_db),
        presence=jnp.asarray(presence),
        jones=jnp.asarray(jones),
    )


def _rows(
    route: TracedRoute, between: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the paths with power within some times: instants, slots, and powers of all slots."""
    first, last = between or (-np.inf, np.inf)
    step = float(np.median(np.diff(route.time)))
    inside = (route.time >= first - step) & (route.time <= last + step)
    size = np.abs(np.asarray(route.paths.gain)) ** 2
    if route.jones is not None:
        size = 0.5 * np.sum(np.abs(route.jones) ** 2, axis=(2, 3))
    instant, slot = np.nonzero(np.asarray(route.paths.valid) & (size > 0) & inside[:, None])
    if len(instant) == 0:
        raise InputError("the ray-traced route has no path with power at these times; give others")
    return instant, slot, size


def _runs(
    route: TracedRoute, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each path the number of its ray, whether it is scattered, and its image."""
    instant, slot, _ = rows

    def pick(values) -> np.ndarray:
        return np.asarray(values)[instant, slot]

    paths, user = route.paths, route.position[instant]
    length = pick(paths.length)
    back = _unit(pick(paths.arrival_azimuth), pick(paths.arrival_zenith))
    image = user + length[:, None] * back
    point = pick(paths.last_bounce)
    two_legs = np.linalg.norm(point - user, axis=1) + np.linalg.norm(point - route.station, axis=1)
    single = (pick(paths.bounces) == 1) & (np.abs(two_legs - length) < LINK)
    identity = pick(paths.identity)
    by_image = _link(instant, image, identity)
    by_point = _link(instant, np.where(single[:, None], point, image), identity)
    # a point that stands still explains more instants with one ray than an image that moves
    count = [np.bincount(each)[each] for each in (by_image, by_point)]
    scattered = single & (count[1] > 3 * count[0])
    label = np.where(scattered, by_point + by_image.max() + 1, by_image)
    ray = np.unique(label, return_inverse=True)[1]
    return ray, scattered, image


def _changes(
    route: TracedRoute,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    ray: np.ndarray,
    grid: tuple[int, int],
) -> np.ndarray:
    """Lay out over time what rays do to phase, and to polarisation where the tracer says so."""
    instant, slot, size = rows
    amplitude = np.sqrt(size[instant, slot])[:, None, None]
    if route.jones is None:
        turn = route.carrier_frequency * np.asarray(route.paths.delay)[instant, slot]
        gain = np.asarray(route.paths.gain)[instant, slot]
        phase = gain * np.exp(2j * np.pi * (turn - np.round(turn)))
        change = (phase / np.abs(phase))[:, None, None]
    else:
        change = route.jones[instant, slot] / amplitude
    jones = np.zeros((*grid, *change.shape[1:]), complex)
    for i, j in np.ndindex(change.shape[1:]):
        entry = change[:, i, j]
        parts = [_fill(part, instant, ray, grid) for part in (entry.real, entry.imag)]
        jones[..., i, j] = parts[0] + 1j * parts[1]
    return jones


def bounce_rays_from_paths(
    route: TracedRoute, between: tuple[float, float] | None = None
) -> BounceRays:
    """Make a ray in the paper's form of every run of paths that come from one image.

    Bounces and virtual delays are the tracer's at its instants, straight between them.

    Args:
        route: The paths, with their first and last bounces.
        between: Keep rays that exist between these times only [s].

    Raises:
        InputError: No path has any power, or bounces are not known.
    """
    rows = _rows(route, between)
    instant, slot, size = rows

    def pick(values) -> np.ndarray:
        return np.asarray(values)[instant, slot]

    paths, user = route.paths, route.position[instant]
    length = pick(paths.length)
    first, last = pick(paths.first_bounce), pick(paths.last_bounce)
    direct = pick(paths.bounces) == 0
    straight = np.linalg.norm(user - route.station, axis=1)
    legs = np.linalg.norm(first - route.station, axis=1) + np.linalg.norm(last - user, axis=1)
    beyond = length - np.where(direct, straight, legs)
    wrong = (beyond < -LINK) | ((pick(paths.bounces) < 2) & (beyond > LINK))
    if wrong.any():
        k = int(np.argmax(wrong))
        raise InputError(
            "the paper's form needs nb and vert, the bounces of every path, in the ray-traced "
            f"table: a path of {length[k]:.4g} m at {route.time[instant[k]]:g} s does not fit its "
            "own; give them, or take --form images"
        )
    ray = _runs(route, rows)[0]
    grid = (len(route.time), int(ray.max()) + 1)
    presence = np.zeros(grid)
    presence[instant, ray] = 1.0

    def lay(values) -> np.ndarray:
        return _fill(values, instant, ray, grid)

    return BounceRays(
        station=jnp.asarray(route.station),
        line_of_sight=jnp.asarray(np.bincount(ray, direct) > 0.5 * np.bincount(ray)),
        time=jnp.asarray(route.time),
        first=jnp.asarray(np.stack([lay(first[:, i]) for i in range(3)], axis=2)),
        last=jnp.asarray(np.stack([lay(last[:, i]) for i in range(3)], axis=2)),
        beyond=jnp.asarray(lay(beyond)),
        gain_db=jnp.asarray(lay(10 * np.log10(pick(size) * length**2))),
        presence=jnp.asarray(presence),
        jones=jnp.asarray(_changes(route, rows, ray, grid)),
    )


def departure_error(
    route: TracedRoute, rays: RaySet, between: tuple[float, float] | None = None
) -> float:
    """Measure how far departures by images are from those traced, the 99 % point [rad].

    Sloping roofs turn the image in a way that azimuths alone do not show.
    """
    ray_image = KDTree(np.asarray(rays.point))
    first, last = between or (-np.inf, np.inf)
    inside = (route.time >= first) & (route.time <= last)
    instant, slot = np.nonzero(np.asarray(route.paths.valid) & inside[:, None])
    paths, user = route.paths, route.position[instant]
    back = _unit(np.asarray(paths.arrival_azimuth)[instant, slot],
                 np.asarray(paths.arrival_zenith)[instant, slot])  # fmt: skip
    length = np.asarray(paths.length)[instant, slot]
    away, ray = ray_image.query(user + length[:, None] * back)
    near = away < LINK
    out = (user - np.asarray(rays.point)[ray])[near]
    bearing = np.arctan2(out[:, 1], out[:, 0])
    found = np.asarray(rays.rotation)[ray][near] + np.asarray(rays.reflection)[ray][near] * bearing
    wrong = wrap_angle(found - np.asarray(paths.departure_azimuth)[instant, slot][near])
    return float(np.quantile(np.abs(wrong), 0.99)) if near.any() else 0.0


def _link(instant: np.ndarray, place: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Give a number to runs of rows whose places, and identities if any, agree in time."""
    label = np.full(len(instant), -1)
    begin = np.searchsorted(instant, np.arange(instant.max() + 2))
    total = 0
    for k in range(instant.max() + 1):
        now = np.arange(begin[k], begin[k + 1])
        if k and len(now) and begin[k] > begin[k - 1]:
            past = np.arange(begin[k - 1], begin[k])
            away, near = map(np.asarray, KDTree(place[past]).query(place[now]))
            mutual = np.asarray(KDTree(place[now]).query(place[past])[1])
            good = (away < LINK) & (mutual[near] == np.arange(len(now)))
            good &= identity[past][near] == identity[now]
            label[now[good]] = label[past[near[good]]]
        new = now[label[now] < 0]
        label[new] = total + np.arange(len(new))
        total += len(new)
    return label


def _fill(
    values: np.ndarray, instant: np.ndarray, ray: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Lay values out over time, each ray's ends held before and after, gaps interpolated."""
    laid = np.zeros(shape)
    order = np.lexsort((instant, ray))
    begin = np.searchsorted(ray[order], np.arange(shape[1] + 1))
    grid = np.arange(shape[0])
    for number in range(shape[1]):
        rows = order[begin[number] : begin[number + 1]]
        laid[:, number] = np.interp(grid, instant[rows], values[rows])
    return laid


def _unit(azimuth: np.ndarray, zenith: np.ndarray) -> np.ndarray:
    across = np.sin(zenith)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(zenith)], axis=1)
