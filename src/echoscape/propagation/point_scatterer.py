"""The world of point scatterers: every path bounces once, off a point that stays.

Seen from the base station such a path keeps its angle wherever the user goes; only its length
tells of the user.  It is the world of [wu-ckm] and the simplest in which an unseen target can be
found.

Takes a `Site` with scatterers and one position (`vmap` for many).
Gives `Paths`, and the paper's square as a site.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.propagation.free_space import carrier_phase, line_of_sight, scattered_amplitude
from echoscape.propagation.path import Paths
from echoscape.scene import PlanarArray, Site, angles_of, distance


def scatter(
    site: Site,
    position: Float[Array, "3"],
    *,
    station: int = 0,
    with_line_of_sight: bool = True,
    planar: bool = False,
) -> Paths:
    """Reach a position from a base station by one bounce off every scatterer.

    Args:
        site: Where the station and the scatterers are.
        position: The other end [m].
        station: Index of the base station.
        with_line_of_sight: Whether the straight path exists; it comes first.
        planar: Whether to ignore heights: all ends and scatterers at the station's.

    Returns:
        One path a scatterer, in the order of the site, not of power; see `strongest`.
    """
    start, points = site.station_position[station], site.scatterer_position
    if planar:
        position, points = position.at[2].set(start[2]), points.at[:, 2].set(start[2])
    out, back = points - start[None], points - position[None]
    before, after = distance(out), distance(back)
    length = before + after
    amplitude = scattered_amplitude(before, after, site.scatterer_cross_section, site.wavelength)
    azimuth, zenith = angles_of(out)
    arrival_azimuth, arrival_zenith = angles_of(back)
    count = length.shape[0]
    bounced = Paths(
        gain=amplitude * carrier_phase(site, length),
        length=length,
        departure_azimuth=azimuth,
        departure_zenith=zenith,
        arrival_azimuth=arrival_azimuth,
        arrival_zenith=arrival_zenith,
        doppler=jnp.zeros_like(length),
        bounces=jnp.ones(count, jnp.int32),
        first_bounce=points,
        last_bounce=points,
        identity=jnp.arange(count, dtype=jnp.int32),
        valid=jnp.ones(count, bool),
    )
    if not with_line_of_sight:
        return bounced
    straight = line_of_sight(site, position, station=station)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first, rest]), straight, bounced)


def jitter_scatterers(site: Site, std: float, *, key: PRNGKeyArray) -> Site:
    """Move every scatterer's x and y at random, as if each user met a slightly other world.

    Args:
        site: The world on average.
        std: Standard deviation of each coordinate [m].
        key: Another one for each user.
    """
    points = site.scatterer_position
    moved = std * jax.random.normal(key, (points.shape[0], 2), points.dtype)
    return eqx.tree_at(lambda site: site.scatterer_position, site, points.at[:, :2].add(moved))


def square_world(
    key: PRNGKeyArray, *, scatterers: int = 8, size: float = 100.0, elements: int = 64
) -> Site:
    """Make the paper's square with one station at the middle of its southern edge.

    After the simulations of [wu-ckm]; that the scatterers are uniform in the square and all alike
    is our choice, and everything lies at height zero.

    Args:
        key: Decides where the scatterers are.
        scatterers: How many.
        size: Side of the square [m].
        elements: Of the station's linear array, which looks north.
    """
    places = jax.random.uniform(key, (scatterers, 2), maxval=size)
    return Site(
        carrier_frequency=28e9,
        bandwidth=100e6,
        station=("bs",),
        station_position=jnp.array([[0.5 * size, 0.0, 0.0]]),
        array=(PlanarArray(columns=elements, azimuth=0.5 * jnp.pi),),
        bounds=jnp.array([[0.0, 0.0, 0.0], [size, size, 0.0]]),
        scatterer_position=jnp.concatenate([places, jnp.zeros((scatterers, 1))], axis=1),
        scatterer_cross_section=jnp.ones(scatterers),
    )
