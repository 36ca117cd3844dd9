"""The paper's square for small studies: scatterers, reports, and the exact map.

Takes a seed.
Gives a `Site` of point scatterers, `Reports` of its strongest paths, and what a perfect map
predicts.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map import (
    AnchorSettings,
    ChannelMap,
    PathPrior,
    fit_anchors,
    fit_scatterers,
)
from echoscape.estimation import PathEstimates
from echoscape.propagation.path import Paths, strongest
from echoscape.propagation.point_scatterer import jitter_scatterers, scatter, square_world
from echoscape.reports import Reports
from echoscape.scene import Site
from echoscape.units import SPEED_OF_LIGHT

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
    site: Site, place: Float[Array, "place 3"], paths: Paths, station: int = 0
) -> Reports:
    """Report paths at places, exactly, without arrival angles."""
    paths = jax.tree.map(np.asarray, paths)
    exact = np.zeros(paths.delay.shape)
    unknown = np.full(paths.delay.shape, np.inf)
    zero = np.zeros(len(place))
    return Reports(
        PathEstimates(
            paths.departure_azimuth, paths.departure_zenith, exact, exact, paths.delay,
            np.asarray(paths.power),
            exact, exact, unknown, unknown, exact, paths.valid,
        ),
        np.asarray(place), zero, zero, np.arange(len(place)), zero.astype(int),
        np.asarray(site.station_position[station : station + 1]), (site.station[station],),
    )  # fmt: skip


def learn_square(reports: Reports, sight: bool = False) -> ChannelMap:
    """Reconstruct the scatterers; with anchors where some users see the station.

    Reports state no error here.  Anchors searched with a smaller one than the jitter would let each
    scatterer fall apart into many.
    """
    if not sight:
        return fit_scatterers(reports)
    return fit_anchors(reports, settings=AnchorSettings(model_errors=(JITTER, 1.0, 3.0)))


def exact_map(site: Site, station: int = 0) -> Callable[[Float[Array, "3"]], PathPrior]:
    """Predict the strongest paths of the mean scatterers, with the spread that jitter gives."""

    def predict(position: Float[Array, "3"]) -> PathPrior:
        paths = strongest(
            scatter(site, position, station=station, with_line_of_sight=False), LISTED
        )
        out = paths.first_bounce - site.station_position[station][None]
        reach = jnp.sqrt(jnp.sum(out**2, axis=-1))
        leg = position[None] - paths.first_bounce
        toward = out / reach[:, None] - leg / jnp.sqrt(jnp.sum(leg**2, axis=-1))[:, None]
        delay = JITTER**2 * jnp.sum(toward**2, axis=-1) / SPEED_OF_LIGHT**2
        spread = jnp.stack([JITTER**2 / reach**2, jnp.full_like(delay, 1e-8), delay], axis=-1)
        return PathPrior(
            probability=jnp.full_like(delay, 0.98),
            departure_azimuth=paths.departure_azimuth,
            departure_zenith=paths.departure_zenith,
            delay=paths.delay,
            covariance=jax.vmap(jnp.diag)(spread),
            power=paths.power,
        )

    return predict
