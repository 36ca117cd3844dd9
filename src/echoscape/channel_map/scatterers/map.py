"""The map of a world of point scatterers: where each is, how much its position jitters, its gain.

In such a world a path's angle at the station never changes and only its length tells of the user;
a handful of positions predicts every path anywhere.  A scatterer that moves a little between one
report and the next (leaves, machines, the paper's random displacement) moves angle and length
together, so their errors are correlated: the position's covariance is propagated into both.

Takes scatterers, given or reconstructed from reports (`search`).
Gives a `ScattererMap`.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.storage import storable, upgraded
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.scene import PointKind, StaticPoints, concatenate, scatterer_position

_TOGETHER = 8  # scatterers that a compiled program has at least, and in steps
_NEAR = 1e-3  # nearer to a scatterer nothing has a direction [m]
_VISIBILITY, _GAIN_STD = 0.9, 1.0  # of points whose maker states neither


@storable("scatterers")
class ScattererMap(ChannelMap):
    """Point scatterers as one station sees them; slots keep the scatterers' order."""

    points: StaticPoints
    """Scatterers in the site's frame.  `covariance` is that of a position from one report to the
    next, jitter and error of the map together; `log_gain_std` is what powers fluctuate beyond it;
    `visibility` is the share of places at which the path exists, given that it is strong enough."""
    report_position: Float[AnyArray, "report 3"]
    """Where the reports were [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    reported_paths: int = eqx.field(static=True)
    """Strongest paths that a receiver reports; a slot's probability is that of being among them."""
    planar: bool = eqx.field(static=True)
    """Whether heights are unknown, and all is taken to be at the station's."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        dtype = position.dtype
        station = jnp.asarray(self.station_position, dtype)
        place = position - station
        if self.planar:
            place = place.at[2].set(0.0)
        points = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.points)
        point = jnp.asarray(scatterer_position(points)) - station[None]
        spread = points.covariance[:, :3, :3]
        path = jax.vmap(path_by_way_of, in_axes=(0, None))
        azimuth, zenith, length = path(point, place)
        slope = jax.vmap(path_slope, in_axes=(0, None))(point, place)
        first, second = _norm(point), _norm(place[None] - point)
        log_power = points.log_gain - 2.0 * jnp.log(first * second)
        pull = 2.0 * ((place[None] - point) / second[:, None] ** 2 - point / first[:, None] ** 2)
        jittered = jnp.einsum("si,sij,sj->s", pull, spread, pull)
        deviation = jnp.sqrt(points.log_gain_std**2 + jittered)
        reported = _among_strongest(log_power, deviation, self.reported_paths)
        covariance = jnp.einsum("sij,sjk,slk->sil", slope, spread, slope)
        covariance = covariance.at[:, 2, 2].add(_bend_variance(point, place, spread))
        if self.planar:
            covariance = covariance.at[:, 1, 1].set(1e-6)
        return PathPrior(
            probability=reported * points.visibility,
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            length=length,
            covariance=covariance,
            power=jnp.exp(log_power),
            log_power_std=deviation,
        )

    def predictor(self) -> ChannelMap:
        """Leave the reports out and fill up with scatterers that are never visible."""
        extra = -len(self.points) % _TOGETHER
        beside = np.asarray(self.station_position, dtype=float) + 1e3
        filler = StaticPoints.scatterers(
            np.tile(beside, (extra, 1)),
            np.zeros((extra, 3, 3)),
            log_gain=np.full(extra, -200.0),
            log_gain_std=np.full(extra, 0.01),
            visibility=np.zeros(extra),
        )
        names = ("kind", "rotation", "reflection", "offset", "vertical_reflection", "height_offset",
                 "covariance", "log_gain", "log_gain_std", "visibility")  # fmt: skip
        columns: dict[str, Any] = {name: np.asarray(getattr(self.points, name)) for name in names}
        known = StaticPoints(**columns)
        return dataclasses.replace(
            self,
            points=concatenate([known, filler]),
            report_position=np.zeros((1, 3)),
            station="",
        )

    def static_points(self) -> StaticPoints:
        """Give all scatterers."""
        origin = np.zeros(len(self.points), dtype=int)
        provenance = (f"reports of {self.station}",)
        return dataclasses.replace(self.points, origin=origin, provenance=provenance)


def map_of_points(
    points: StaticPoints,
    station: str,
    position: Float[np.ndarray, "3"],
    users: Float[np.ndarray, "user 3"],
    reported_paths: int = 5,
) -> ScattererMap:
    """Make the map of a station without reports from points that an image or tracks show.

    Args:
        points: Scatterers in the site's frame; points of other kinds are left out.
        station: Name of the station.
        position: Where it is [m].
        users: Places about which targets are searched, such as those of the image's users [m].
        reported_paths: Strongest paths that a receiver reports.

    Raises:
        InputError: None of the points is a scatterer, or there is no place.
    """
    points = points[np.isin(points.kind, (PointKind.SCATTERER, PointKind.EDGE))]
    if not len(points) or not len(users):
        raise InputError(
            "a map of points needs scatterers, and places [m] about which to search; got "
            f"{len(points)} scatterers and {len(users)} places"
        )
    given = lambda name, default: np.where(  # noqa: E731
        np.isfinite(value := np.asarray(getattr(points, name, None), float)), value, default
    )
    return ScattererMap(
        points=StaticPoints.scatterers(
            np.asarray(scatterer_position(points), float),
            np.broadcast_to(given("covariance", 0.0), (len(points), 4, 4))[:, :3, :3],
            log_gain=given("log_gain", 0.0) * np.ones(len(points)),
            log_gain_std=given("log_gain_std", _GAIN_STD) * np.ones(len(points)),
            visibility=given("visibility", _VISIBILITY) * np.ones(len(points)),
        ),
        report_position=np.asarray(users, float),
        station_position=np.asarray(position, float),
        station=station,
        reported_paths=reported_paths,
        planar=False,
    )


@upgraded("scatterers")
def _old_map(fields: dict) -> ScattererMap:
    """Read a map of version 0.1, or of today's fields."""
    if "points" not in fields:
        fields["points"] = StaticPoints.scatterers(
            np.asarray(fields.pop("scatterer"), dtype=float),
            fields.pop("covariance"),
            log_gain=np.asarray(fields.pop("log_gain"), dtype=float),
            log_gain_std=np.asarray(fields.pop("log_power_std"), dtype=float),
            visibility=np.asarray(fields.pop("seen"), dtype=float),
        )
        fields["reported_paths"] = fields.pop("listed")
    return ScattererMap(**fields)


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
    """Give the variance of a length's second order in the jitter, ``tr((H S)^2) / 2`` [m^2].

    A scatterer between the station and the user changes the length to second order only: without
    this term such a path would be trusted to nothing.
    """
    size = jnp.trace(spread, axis1=-2, axis2=-1)
    bend = jnp.zeros_like(spread)
    for leg in (point, place[None] - point):
        # A user within the jitter of the scatterer is at some distance from it all the same.
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
