"""The map for a small campaign: every reported path, carried along as the user moves.

Where reports are few and in a furnished room, too few paths share a wall to fit it.  But one
path with its arrival direction already tells how it changes nearby: a user who steps towards where
the path comes from shortens it by the step.  So each report predicts its own paths around itself,
ever less surely the farther away, and near reports count more.  How far they count, how surely,
how well the sounder measures and how many paths nobody else has are learnt from the reports
themselves: every report's paths must be probable given all other reports.  Nothing is set by
hand, and no path needs a label.

Arrival directions that were not measured are read off the neighbours (`arrivals`).

Takes `Reports`.
Gives a `ExtrapolatedMap`.
"""

import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import minimize
from scipy.spatial import KDTree

from echoscape.channel_map.extrapolated.arrivals import Errors, ExtrapolatedPaths, guess_arrivals
from echoscape.channel_map.model import MapModel
from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.storage import storable
from echoscape.estimation import AnyArray
from echoscape.reports import Reports
from echoscape.scene.direction import unit_vector
from echoscape.units import wrap_angle

_UNMEASURED = 2.5  # standard deviation of an angle that says nothing [rad]
_LEARNT_FROM = 400  # reports, at most


class _Near(eqx.Module):
    """What some reports predict at a place, in arrays of [report, path]."""

    length: AnyArray
    log_weight: AnyArray
    azimuth_variance: AnyArray
    zenith_variance: AnyArray
    length_variance: AnyArray


def _carry(paths: ExtrapolatedPaths, errors: Errors, position: Float[Array, "3"]) -> _Near:
    """Carry the paths of some reports to a position."""
    step = position[None] - paths.position
    squared = jnp.sum(step**2, axis=-1)
    log_weight = jax.nn.log_softmax(-0.5 * squared / errors.reach**2)
    image = paths.position[:, None] + paths.length[..., None] * paths.arrival
    known = jnp.sum(paths.arrival**2, axis=-1) > 0.5
    away = jnp.sqrt(jnp.sum((position[None, None] - image) ** 2, axis=-1) + 1e-12)
    level = jnp.sqrt(paths.length**2 + 1e-12)
    moved = squared[:, None]
    turned = errors.azimuth**2 + errors.turn**2 * moved / level**2
    stretch = jnp.where(known, errors.stretch**2, errors.stretch**2 + 0.5)
    with_share = jnp.log(jnp.maximum(paths.share, 1e-30))
    return _Near(
        length=jnp.where(known, away, paths.length),
        log_weight=jnp.where(paths.share > 0, log_weight[:, None] + with_share, -jnp.inf),
        azimuth_variance=turned,
        zenith_variance=paths.zenith_std**2 + errors.turn**2 * moved / level**2,
        length_variance=errors.length**2 + stretch * moved,
    )


@storable("carried")
class ExtrapolatedMap(ChannelMap):
    """Reports of one station, each predicting its own paths around itself."""

    paths: ExtrapolatedPaths
    """All of them."""
    errors: Errors
    """What was learnt from them."""
    report_position: Float[AnyArray, "report 3"]
    """Where the users were [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    neighbours: int = eqx.field(static=True)
    """Nearest reports that predict a place."""

    def around(self, position: Float[Array, "3"]) -> "ExtrapolatedAround":
        """Pick the reports nearest to a position [m]."""
        dtype = position.dtype
        place = jnp.asarray(self.report_position, dtype)
        _, near = jax.lax.top_k(-jnp.sum((place - position[None]) ** 2, axis=-1), self.neighbours)
        few = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype)[near], self.paths)
        errors = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.errors)
        return ExtrapolatedAround(few, errors)

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        prior = self.around(position)(position)
        order = jnp.argsort(-prior.probability)
        return jax.tree.map(lambda leaf: leaf[order], prior)


class ExtrapolatedAround(eqx.Module):
    """The reports nearest to a place, held fixed."""

    paths: ExtrapolatedPaths
    """Theirs."""
    errors: Errors
    """As in the map."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at a position nearby [m]."""
        near = _carry(self.paths, self.errors, position)
        variance = jnp.stack(
            [near.azimuth_variance, near.zenith_variance, near.length_variance],
            axis=-1,
        )
        flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
        return PathPrior(
            probability=jnp.clip(flat(jnp.exp(near.log_weight)), 0.0, 0.98),
            departure_azimuth=flat(self.paths.azimuth),
            departure_zenith=flat(self.paths.zenith),
            length=flat(near.length),
            covariance=jax.vmap(jnp.diag)(flat(variance)),
            power=flat(self.paths.power),
        )


def _lay_out(reports: Reports, use_arrival: bool) -> ExtrapolatedPaths:
    paths = jax.tree.map(np.asarray, reports.estimates)
    placed = np.isfinite(paths.departure_azimuth_std) & np.isfinite(paths.length_std)
    valid = paths.valid & placed
    level = ~np.isfinite(paths.departure_zenith_std)
    came_level = ~np.isfinite(paths.arrival_zenith_std)
    measured = np.isfinite(paths.arrival_azimuth_std) & valid & use_arrival
    away = np.asarray(
        unit_vector(
            jnp.asarray(paths.arrival_azimuth),
            jnp.asarray(np.where(came_level, 0.5 * np.pi, paths.arrival_zenith)),
        )
    )
    return ExtrapolatedPaths(
        position=np.asarray(reports.position, float),
        azimuth=np.asarray(paths.departure_azimuth, float),
        zenith=np.where(level, 0.5 * np.pi, paths.departure_zenith),
        zenith_std=np.where(level, _UNMEASURED, np.maximum(paths.departure_zenith_std, 0.02)),
        length=np.where(valid, np.maximum(paths.length, 1e-3), 1.0),
        arrival=np.where(measured[..., None], away, 0.0),
        power=np.where(valid, paths.power, 0.0),
        share=valid.astype(float),
    )


def _first_guess(paths: ExtrapolatedPaths) -> tuple[Errors, float]:
    place = paths.position
    spacing = 1.0
    if len(place) > 1:
        spacing = float(np.median(KDTree(place).query(place, k=2)[0][:, 1]))
    spacing = max(spacing, 0.05)
    numbers = (0.05, 0.3 * spacing, 1.5 * spacing, 0.5, 0.3, 0.5)
    return Errors(*(np.asarray(number) for number in numbers)), spacing


def _learn(
    paths: ExtrapolatedPaths,
    errors: Errors,
    spacing: float,
    neighbours: int,
    steps: int,
    least_length: float = 5e-3,
) -> Errors:
    """Maximise the probability of every report's paths given its neighbours' (L-BFGS-B)."""
    count = len(paths.position)
    if count < 3 or steps == 0:
        return errors
    some = np.linspace(0, count - 1, min(count, _LEARNT_FROM)).astype(int)
    found = KDTree(paths.position).query(paths.position[some], k=min(neighbours + 1, count))
    near = np.asarray(found[1]).reshape(len(some), -1)
    near = np.stack([row[row != k][: len(row) - 1] for k, row in zip(some, near)])
    low = np.log([2e-3, least_length, 0.3 * spacing, 0.02, 0.02, 0.02])
    high = np.log([1.0, 5.0 * max(spacing, 0.2), 20.0 * spacing, 3.0, 3.0, 8.0])
    start = np.clip(np.log([float(leaf) for leaf in jax.tree.leaves(errors)]), low, high)
    taken = (paths.share > 0) & _first_reading(paths)
    span = float(np.max(paths.length[taken], initial=1.0))
    tree = jax.tree.map(jnp.asarray, paths)
    constants = (tree, jnp.asarray(taken), jnp.asarray(some), jnp.asarray(near), jnp.asarray(span))

    def cost(logs):
        value, slope = _surprise(jnp.asarray(logs), *constants)
        return float(value), np.asarray(slope, float)

    options = {"maxiter": steps}
    best = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=[*zip(low, high)], options=options
    )
    return Errors(*(np.asarray(number) for number in np.exp(best.x)))


def _first_reading(paths: ExtrapolatedPaths) -> Bool[np.ndarray, "report path"]:
    """Mark one reading of each path, where a path has several."""
    same = (paths.azimuth[:, :, None] == paths.azimuth[:, None]) & (
        paths.length[:, :, None] == paths.length[:, None]
    )
    earlier = np.tril(same & (paths.share > 0)[:, None], -1)
    return np.logical_not(earlier.any(axis=-1)).reshape(paths.share.shape)


@jax.jit
@functools.partial(jax.value_and_grad)
def _surprise(
    logs: Float[Array, "6"], paths: ExtrapolatedPaths, taken: Bool[Array, "report path"],
    some: Int[Array, " some"], near: Int[Array, "some near"], span: Float[Array, ""],
) -> Float[Array, ""]:  # fmt: skip
    """Average the negative log-likelihood of reports, each given its neighbours.

    The paths of a pose are a Poisson process: predicted ones, and some spread evenly over
    directions and lengths up to `span`.
    """
    errors = Errors(*jnp.exp(logs))

    def one(report, others):
        few = jax.tree.map(lambda leaf: leaf[others], paths)
        carried = _carry(few, errors, jnp.asarray(paths.position)[report])
        azimuth_variance = (carried.azimuth_variance + errors.azimuth**2)[None]
        length_variance = (carried.length_variance + errors.length**2)[None]
        turn = wrap_angle(paths.azimuth[report][:, None, None] - few.azimuth[None])
        miss = paths.length[report][:, None, None] - carried.length[None]
        score = -0.5 * (turn**2 / azimuth_variance + miss**2 / length_variance)
        score = score - 0.5 * jnp.log(azimuth_variance * length_variance) - jnp.log(2 * jnp.pi)
        predicted = jax.nn.logsumexp(score + carried.log_weight[None], axis=(1, 2))
        even = jnp.log(errors.unshared / (2 * jnp.pi * span))
        log_lik = jnp.where(taken[report], jnp.logaddexp(predicted, even), 0.0)
        return jnp.sum(jnp.exp(carried.log_weight)) + errors.unshared - jnp.sum(log_lik)

    return jnp.mean(jax.vmap(one)(some, near))


class Extrapolated(MapModel):
    """Every path of the nearest reports, extrapolated: for small campaigns and furnished rooms."""

    name: ClassVar[str] = "extrapolated"

    neighbours: int = pydantic.Field(default=16, ge=1)
    """Nearest reports that predict the paths at a place."""
    steps: int = pydantic.Field(default=60, ge=0)
    """Most steps of learning."""
    use_arrival: bool = True
    """Whether the reports' own arrival angles count; else they are read off the neighbours."""

    def fit(self, reports, *, key, start=None, progress=None) -> ExtrapolatedMap:
        """Keep the reports and learn how far and how surely their paths extrapolate."""
        del key, progress
        self.refuse_start(start)
        paths = _lay_out(reports, self.use_arrival)
        neighbours = min(self.neighbours, len(reports.report))
        errors, spacing = _first_guess(paths)
        errors = _learn(paths, errors, spacing, neighbours, self.steps)
        open_ = (np.sum(paths.arrival**2, axis=-1) < 0.5) & (paths.share > 0)
        if open_.any() and len(paths.position) > 2:
            paths = guess_arrivals(paths, open_, errors, spacing)
            # Directions chosen to fit make the lengths look better than they were measured.
            errors = _learn(
                paths, errors, spacing, neighbours, self.steps, 0.7 * float(errors.length)
            )
        return ExtrapolatedMap(
            paths=paths,
            errors=errors,
            report_position=paths.position,
            station_position=np.asarray(reports.station_position[0], float),
            station=reports.station[0],
            neighbours=neighbours,
        )
