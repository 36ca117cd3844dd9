"""The paper's square for small studies: scatterers, reports, and the exact map.

Takes a seed.
Gives a `Site` of point scatterers, `Reports` of its strongest paths, and what a perfect map
predicts.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map import ChannelMap, ScattererMap, Scatterers, VirtualAnchors, fit_map
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.propagation.path import Paths, strongest
from echoscape.propagation.point_scatterer import jitter_scatterers, scatter, square_world
from echoscape.reports import Reports
from echoscape.scene import Site, StaticPoints

JITTER = 0.3
"""How far the scatterers lie from their means, for each user anew [m]."""
LISTED = 5
"""Strongest paths of a user."""


def square_site(seed: int, scatterers: int = 8) -> Site:
    """Place scatterers in the square, by seed."""
    return square_world(jax.random.key(seed), scatterers=scatterers)


def square_places(seed: int, count: int, margin: float = 0.0) -> Float[Array, "place 3"]:
    """Draw places in the square [m]."""
    key = jax.random.fold_in(jax.random.key(seed), 7)
    level = jax.random.uniform(key, (count, 2), minval=margin, maxval=100.0 - margin)
    return jnp.concatenate([level, jnp.zeros((count, 1))], axis=1)


def square_paths(
    site: Site, place: Float[Array, "place 3"], key: PRNGKeyArray, station: int = 0
) -> Paths:
    """Reach places by their strongest paths, the scatterers jittered for each place anew."""

    def one(key, place):
        moved = jitter_scatterers(site, JITTER, key=key)
        return strongest(scatter(moved, place, station=station, with_line_of_sight=False), LISTED)

    return jax.jit(jax.vmap(one))(jax.random.split(key, len(place)), place)


def square_reports(
    site: Site, place: Float[Array, "place 3"], key: PRNGKeyArray, station: int = 0
) -> Reports:
    """Report the strongest paths at places, exactly."""
    return reports_of_paths(site, place, square_paths(site, place, key, station), station)


def reports_of_paths(
    site: Site,
    place: Float[AnyArray, "place 3"],
    paths: Paths,
    station: int = 0,
    position_std: float = 0.0,
) -> Reports:
    """Report paths at places, without arrival angles; exactly where they state no deviation."""
    paths = jax.tree.map(np.asarray, paths)
    count = len(place)
    return Reports(
        PathEstimates(
            departure_azimuth=paths.departure_azimuth, departure_zenith=paths.departure_zenith,
            departure_zenith_std=paths.departure_zenith_std, length=paths.length,
            power=paths.power, valid=paths.valid,
        ),
        np.asarray(place), np.full(count, position_std), np.zeros(count), np.arange(count),
        np.zeros(count, int), np.asarray(site.station_position[station : station + 1], float),
        (site.station[station],),
    )  # fmt: skip


def learn_square(reports: Reports, sight: bool = False) -> ChannelMap:
    """Reconstruct the scatterers; with anchors where some users see the station."""
    if not sight:
        return fit_map(reports, Scatterers())
    return fit_map(reports, VirtualAnchors())


def exact_map(
    site: Site, report_position: Float[AnyArray, "report 3"], station: int = 0
) -> ScattererMap:
    """State the world itself as a map: mean positions and true jitter, where reports would be."""
    count = site.scatterer_position.shape[0]
    return ScattererMap(
        points=StaticPoints.scatterers(
            np.asarray(site.scatterer_position),
            np.tile(JITTER**2 * np.diag([1.0, 1.0, 0.0]), (count, 1, 1)),
            log_gain=np.log(np.asarray(site.scatterer_cross_section)),
            log_gain_std=np.full(count, 0.005),
            visibility=np.full(count, 0.99),
        ),
        report_position=np.asarray(report_position),
        station_position=np.asarray(site.station_position[station]),
        station=site.station[station],
        reported_paths=LISTED,
        planar=True,
    )
