"""The map of a world of point scatterers: where each is, how much it sways, how strong it is.

In such a world a path's angle at the station never changes and only its length tells of the user;
a handful of positions predicts every path anywhere.  A scatterer that sways a little between one
report and the next (leaves, machines, the paper's random displacement) moves angle and length
together, so their errors are correlated: the covariance is that of the sway seen through both.

Takes scatterers, given or reconstructed from reports (`scatterer_search`).
Gives a `ScattererMap`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.storage import storable
from echoscape.estimation import AnyArray

_TOGETHER = 8  # scatterers that a compiled program has at least, and in steps
_NEAR = 1e-3  # nearer to a scatterer nothing has a direction [m]


@storable("scatterers")
class ScattererMap(ChannelMap):
    """Point scatterers as one station sees them; slots keep the scatterers' order."""

    scatterer: Float[AnyArray, "scatterer 3"]
    """Where they are on average [m]."""
    covariance: Float[AnyArray, "scatterer 3 3"]
    """Of a scatterer's place about that average, sway and error of the map together [m^2]."""
    log_gain: Float[AnyArray, " scatterer"]
    """Natural logarithm of power times the squares of both legs [m^4]."""
    log_power_std: Float[AnyArray, " scatterer"]
    """Standard deviation of the logarithm of power, beyond what the sway does to it."""
    seen: Float[AnyArray, " scatterer"]
    """Share of the places at which its path exists, given that it would be strong enough."""
    report_position: Float[AnyArray, "report 3"]
    """Where the reports were [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    listed: int = eqx.field(static=True)
    """Strongest paths that a receiver lists: presence is the probability of being among them."""
    planar: bool = eqx.field(static=True)
    """Whether heights are unknown, and all is taken to be at the station's."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        dtype = position.dtype
        station = jnp.asarray(self.station_position, dtype)
        place = position - station
        if self.planar:
            place = place.at[2].set(0.0)
        point = jnp.asarray(self.scatterer, dtype) - station[None]
        spread = jnp.asarray(self.covariance, dtype)
        path = jax.vmap(path_by_way_of, in_axes=(0, None))
        azimuth, zenith, length = path(point, place)
        slope = jax.vmap(path_slope, in_axes=(0, None))(point, place)
        first, second = _norm(point), _norm(place[None] - point)
        log_power = jnp.asarray(self.log_gain, dtype) - 2.0 * jnp.log(first * second)
        pull = 2.0 * ((place[None] - point) / second[:, None] ** 2 - point / first[:, None] ** 2)
        swayed = jnp.einsum("si,sij,sj->s", pull, spread, pull)
        deviation = jnp.sqrt(jnp.asarray(self.log_power_std, dtype) ** 2 + swayed)
        listed = _among_strongest(log_power, deviation, self.listed)
        probability = listed * jnp.asarray(self.seen, dtype)
        covariance = jnp.einsum("sij,sjk,slk->sil", slope, spread, slope)
        covariance = covariance.at[:, 2, 2].add(_bend_variance(point, place, spread))
        if self.planar:
            covariance = covariance.at[:, 1, 1].set(1e-6)
        return PathPrior(
            probability=probability,
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            length=length,
            covariance=covariance,
            power=jnp.exp(log_power),
            log_power_std=deviation,
        )

    def predictor(self) -> ChannelMap:
        """Leave the reports out and fill up with scatterers that nobody hears."""
        extra = -len(self.scatterer) % _TOGETHER
        fill = lambda leaf, value: np.pad(  # noqa: E731
            np.asarray(leaf, dtype=float), ((0, extra),) + ((0, 0),) * (np.ndim(leaf) - 1),
            constant_values=value,
        )  # fmt: skip
        beside = np.asarray(self.station_position) + 1e3
        return ScattererMap(
            scatterer=np.concatenate([self.scatterer, np.broadcast_to(beside, (extra, 3))]),
            covariance=fill(self.covariance, 0.0),
            log_gain=fill(self.log_gain, -200.0),
            log_power_std=fill(self.log_power_std, 0.01),
            seen=fill(self.seen, 0.0),
            report_position=np.zeros((1, 3)),
            station_position=self.station_position,
            station=self.station,
            listed=self.listed,
            planar=self.planar,
        )


def path_by_way_of(
    point: Float[Array, "3"], place: Float[Array, "3"]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Bounce once: azimuth and zenith at the station [rad] and length [m]; all from the station."""
    level = jnp.hypot(point[0], point[1])
    length = _norm(point) + _norm(place - point)
    return jnp.arctan2(point[1], point[0]), jnp.arctan2(level, point[2]), length


def path_slope(point: Float[Array, "3"], place: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Differentiate azimuth, zenith and length by the scatterer's place."""
    rho2 = jnp.maximum(point[0] ** 2 + point[1] ** 2, _NEAR**2)
    rho, whole = jnp.sqrt(rho2), jnp.maximum(_norm(point), _NEAR)
    zero = jnp.zeros_like(rho)
    azimuth = jnp.stack([-point[1] / rho2, point[0] / rho2, zero])
    zenith = jnp.stack(
        [point[0] * point[2] / rho, point[1] * point[2] / rho, -rho]
    ) / whole**2  # fmt: skip
    back = place - point
    length = point / whole - back / jnp.maximum(_norm(back), _NEAR)
    return jnp.stack([azimuth, zenith, length])


def _bend_variance(point, place, spread):
    """Give the variance of a length's second order in the sway, ``tr((H S)^2) / 2`` [m^2].

    A scatterer between the station and the user changes the length to second order only: without
    this term such a path would be trusted to nothing.
    """
    size = jnp.trace(spread, axis1=-2, axis2=-1)
    bend = jnp.zeros_like(spread)
    for leg in (point, place[None] - point):
        # A user in the scatterer's own haze is at some distance from it all the same.
        length = jnp.sqrt(jnp.sum(leg**2, axis=-1) + size)
        along = leg / length[:, None]
        plane = jnp.eye(3, dtype=leg.dtype)[None] - along[:, :, None] * along[:, None]
        bend = bend + plane / length[:, None, None]
    once = jnp.einsum("sij,sjk->sik", bend, spread)
    return 0.5 * jnp.einsum("sij,sji->s", once, once)


def _norm(vector: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    return jnp.sqrt(jnp.sum(vector**2, axis=-1) + _NEAR**2)


def _among_strongest(log_power, deviation, count: int):
    """Give each path the probability that it is among the strongest, by the gap at the border."""
    paths = log_power.shape[0]
    if paths <= count:
        return jnp.ones_like(log_power)
    ordered, order = jax.lax.top_k(log_power, count + 1)
    border = 0.5 * (ordered[count - 1] + ordered[count])
    # The border is as uncertain as the paths that make it.
    other = 0.5 * jnp.sqrt(deviation[order[count - 1]] ** 2 + deviation[order[count]] ** 2)
    return jax.scipy.stats.norm.cdf((log_power - border) / jnp.hypot(deviation, other))
