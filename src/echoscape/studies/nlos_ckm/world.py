"""The paper's square, made: layouts of scatterers, users who report, targets that echo.

One hundred metres a side, the station at the middle of the southern edge, scatterers uniform in it,
whose position jitters a little between any two receptions (the paper's random displacement).  The
five strongest paths count.

Takes the number of a layout.
Gives its `Layout`: reports, targets, their echoes, the exact map and the exact bound.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map.scatterers.map import ScattererMap, path_by_way_of, path_slope
from echoscape.estimation import PathEstimates
from echoscape.localization import PairedEchoes
from echoscape.localization.bounds.fisher import path_information
from echoscape.propagation import jitter_scatterers, scatter, square_world, strongest
from echoscape.reports import Reports
from echoscape.scene import Site
from echoscape.studies.nlos_ckm import square_scene
from echoscape.studies.nlos_ckm.square_scene import JITTER, LISTED, reports_of_paths
from echoscape.units import delay_of

SIZE = 100.0
SCATTERERS = (8, 8, 8, 15)
"""How many scatterers the layouts have, in turn."""


class Users(NamedTuple):
    """Where users or targets are and which paths they have, strongest first."""

    position: Float[np.ndarray, "user 3"]
    azimuth: Float[np.ndarray, "user path"]
    length: Float[np.ndarray, "user path"]
    power: Float[np.ndarray, "user path"]
    identity: np.ndarray


class Layout(NamedTuple):
    """One layout: the world, users to report, targets to find."""

    number: int
    site: Site
    users: Users
    targets: Users


def make_layout(number: int, *, users: int = 10_000, targets: int = 200, seed: int = 0) -> Layout:
    """Draw a layout with its users and targets; fewer of them are the first of more."""
    key = jax.random.fold_in(jax.random.key(seed), number)
    for_world, for_users, for_targets = jax.random.split(key, 3)
    site = square_world(for_world, scatterers=SCATTERERS[number % len(SCATTERERS)], size=SIZE)
    return Layout(
        number, site, _users(site, users, for_users), _users(site, targets, for_targets)
    )  # fmt: skip


def _users(site: Site, count: int, key: PRNGKeyArray) -> Users:
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))
    return Users(*(np.asarray(leaf) for leaf in _user(site, keys)))


@eqx.filter_jit
def _user(site: Site, keys: Array):
    def one(key):
        where, how = jax.random.split(key)
        place = jax.random.uniform(where, (2,), maxval=SIZE)
        place = jnp.concatenate([place, jnp.zeros(1)])
        world = jitter_scatterers(site, JITTER, key=how)
        paths = strongest(scatter(world, place, with_line_of_sight=False, planar=True), LISTED)
        return place, paths.departure_azimuth, paths.length, paths.power, paths.identity

    return jax.vmap(one)(keys)


def reports_of(
    layout: Layout, count: int, *, position_std: float = 0.0, wrong: float = 0.0, seed: int = 0
) -> Reports:
    """Let the first users report, exactly or at places misread; some from somewhere else.

    Args:
        layout: The world.
        count: How many users.
        position_std: Error of each coordinate of a reported place [m]; it is stated.
        wrong: Share of reports whose place is drawn anew, unstated.
        seed: Seed of the errors.
    """
    rng = np.random.default_rng([seed, layout.number, count])
    users = layout.users
    place = users.position[:count].copy()
    place[:, :2] += position_std * rng.normal(size=(count, 2))
    misplaced = rng.choice(count, round(wrong * count), replace=False)
    place[misplaced, :2] = rng.uniform(0, SIZE, (len(misplaced), 2))
    azimuth, length, power = (leaf[:count] for leaf in users[1:4])
    paths = PathEstimates(
        departure_azimuth=azimuth, departure_zenith=np.full_like(azimuth, np.pi / 2),
        departure_zenith_std=np.full_like(azimuth, np.inf), length=length, power=power,
    )  # fmt: skip
    return reports_of_paths(layout.site, place, paths, position_std=position_std)


def echoes_of(
    targets: Users, *, angle_std: float, delay_std: float, seed: int, paths: int = LISTED
) -> PairedEchoes:
    """Let targets echo along every ordered pair of their strongest paths.

    Args:
        targets: Where they are.
        angle_std: Error of every angle [rad].
        delay_std: Error of every delay [s].
        seed: Seed of the errors; the same draws at every level, scaled.
        paths: How many of their paths echo; the others are not detected.
    """
    rng = np.random.default_rng(seed)
    shape = (*targets.length.shape, targets.length.shape[1])
    out, back, late = (rng.normal(size=shape) for _ in range(3))
    detected = np.arange(shape[1]) < paths
    azimuth, delay = targets.azimuth, delay_of(targets.length)
    return PairedEchoes(
        departure_azimuth=azimuth[:, :, None] + angle_std * out,
        arrival_azimuth=azimuth[:, None, :] + angle_std * back,
        delay=delay[:, :, None] + delay[:, None, :] + delay_std * late,
        valid=np.broadcast_to(detected[:, None] & detected, shape),
        angle_std=angle_std,
        delay_std=delay_std,
    )


def exact_map(layout: Layout, reports: int = 1000) -> ScattererMap:
    """State the world itself as a map, where so many users were."""
    return square_scene.exact_map(layout.site, layout.users.position[:reports])


def exact_bound(
    layout: Layout, *, angle_std: float, delay_std: float, pairs: str = "all", paths: int = LISTED
) -> Float[np.ndarray, " target"]:
    """Bound the root mean square error at every target, its own paths given [m].

    The jitter of a scatterer is one unknown displacement, shared by all echoes by way of it, Eqs.
    (15)-(17) of [wu-ckm].
    """
    found = _bounds(
        jnp.asarray(layout.targets.position),
        jnp.asarray(layout.targets.identity[:, :paths]),
        jnp.asarray(layout.site.scatterer_position),
        jnp.asarray(layout.site.station_position[0]),
        jnp.asarray(angle_std, float), jnp.asarray(delay_std, float), pairs,
    )  # fmt: skip
    return np.asarray(found)


@eqx.filter_jit
def _bounds(position, identity, scatterer, station, angle_std, delay_std, pairs):

    def one(place, used):
        point = scatterer[used] - station[None]

        def measure(level: Float[Array, "2"]):
            there = jnp.concatenate([level, jnp.zeros(1)])
            stacked = jax.vmap(path_by_way_of, in_axes=(0, None))(point, there)
            return jnp.stack(stacked, axis=-1)

        here = (place - station).at[2].set(0.0)
        slope = jax.vmap(path_slope, in_axes=(0, None))(point, here)
        jitter = JITTER**2 * jnp.einsum("pij,pkj->pik", slope[..., :2], slope[..., :2])
        found = path_information(
            jax.jacfwd(measure)(here[:2]), jitter, jnp.ones(len(used), bool),
            angle_std=angle_std, delay_std=delay_std, pairs=pairs,
        )  # fmt: skip
        return jnp.sqrt(jnp.trace(jnp.linalg.inv(found)))

    return jax.vmap(one)(position, identity)
