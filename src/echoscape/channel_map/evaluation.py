"""How well a map predicts reports that it was not learnt from.

Every path that a held-out report lists among its strongest is given the nearest predicted path
that no other path took, nearest in units of what a base station would measure.  What finds none
is not explained.  A map also predicts which of its paths are there: their probability is
scored against which of its paths were taken.

Takes a `ChannelMap` and held-out `Reports`.
Gives an `Evaluation`, and the split that holds reports out in whole blocks of the area.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.reports import Reports
from echoscape.units import length_of, wrap_angle

UNIT = np.array([0.05, 0.05, length_of(5e-9)])
"""Errors of azimuth, zenith and length in which paths are compared [rad, rad, m]."""

_FARTHEST = 3.0  # of those units, all three together
_LIKELY = 0.05  # slots less probable than this explain nothing
_CLIP = 1e-3  # no probability counts as more certain than this
_INSIDE_90 = 6.251  # chi-squared of three degrees of freedom
_TOGETHER = 1024  # places predicted at once


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Errors over held-out reports; those of paths are over the explained ones."""

    reports: int
    """Reports with at least one path."""
    paths: int
    """Their paths, each report's strongest ones."""
    explained: float
    """Share of the paths that the map explains."""
    azimuth_rms: float | None
    """Root mean square error [rad]; None, as below, if nothing is explained."""
    azimuth_median: float | None
    """Median error [rad]."""
    zenith_rms: float | None
    """Root mean square error [rad]."""
    zenith_median: float | None
    """Median error [rad]."""
    delay_rms: float | None
    """Root mean square error [s]."""
    delay_median: float | None
    """Median error [s]."""
    inside_90: float | None
    """Share inside the 90 % ellipsoid of the map's and the report's errors together."""
    log_loss: float
    """Surprise at which of the map's paths are there, summed over a place [nat]."""
    brier: float
    """Squared error of the probability presence, summed over a place [1]."""


def evaluate(channel_map: ChannelMap, reports: Reports, *, strongest: int = 5) -> Evaluation:
    """Score a map on held-out reports of its station.

    Args:
        channel_map: Any map.
        reports: Reports that it was not learnt from.
        strongest: How many paths of a report must be explained; those are what maps predict.

    Raises:
        ValueError: The reports have no path of the map's station.
    """
    reports = reports_of_station(reports, channel_map.station)
    some = np.flatnonzero(np.asarray(reports.estimates.valid).any(axis=1))
    position = np.asarray(reports.position, dtype=float)[some]
    paths = jax.tree.map(lambda leaf: np.asarray(leaf)[some, :strongest], reports.estimates)
    prior = predict(channel_map, position)
    slot = _match(paths, prior)
    explained = slot >= 0
    error, variance = _errors(paths, prior, np.maximum(slot, 0))
    error, variance = error[explained], variance[explained]
    present = np.zeros(prior.probability.shape, dtype=bool)
    row, _ = np.nonzero(explained)
    present[row, slot[explained]] = True
    probability = np.clip(np.asarray(prior.probability, dtype=float), _CLIP, 1 - _CLIP)
    log_loss = -np.where(present, np.log(probability), np.log1p(-probability))
    log_loss = np.where(present | (np.asarray(prior.probability) > 0), log_loss, 0.0)
    brier = (np.asarray(prior.probability, dtype=float) - present) ** 2
    shown = error / [1.0, 1.0, length_of(1.0)]
    rms = np.sqrt(np.mean(shown**2, axis=0)).tolist() if len(error) else [None] * 3
    middle = np.median(np.abs(shown), axis=0).tolist() if len(error) else [None] * 3
    return Evaluation(
        reports=len(some),
        paths=int(paths.valid.sum()),
        explained=float(explained.sum() / paths.valid.sum()),
        azimuth_rms=rms[0],
        azimuth_median=middle[0],
        zenith_rms=rms[1],
        zenith_median=middle[1],
        delay_rms=rms[2],
        delay_median=middle[2],
        inside_90=_inside(error, variance) if len(error) else None,
        log_loss=float(log_loss.sum(axis=1).mean()),
        brier=float(brier.sum(axis=1).mean()),
    )


def predict(channel_map: ChannelMap, position: Float[AnyArray, "place 3"]) -> PathPrior:
    """Predict the paths at many places [m], some at once; on the host."""
    found = _predict(channel_map, jnp.asarray(position))
    return jax.tree.map(np.asarray, found)


def spatial_split(
    position: Float[np.ndarray, "report 3"], share: float = 0.2, block: float = 20.0, seed: int = 0
) -> Bool[np.ndarray, " report"]:
    """Choose whole blocks of the area that hold about a share of the reports.

    Args:
        position: Where the reports are [m].
        share: Share to hold out.
        block: Side of a block [m].
        seed: Same seed, same split.

    Returns:
        True for what is held out.
    """
    cell = np.floor(position[:, :2] / block).astype(int)
    _, number, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(count))
    enough = np.cumsum(count[order]) <= share * len(position)
    return np.isin(number.ravel(), order[enough])


@eqx.filter_jit
def _predict(channel_map: ChannelMap, position) -> PathPrior:
    return jax.lax.map(channel_map, position, batch_size=_TOGETHER)


def _match(paths: PathEstimates, prior: PathPrior) -> Int[np.ndarray, "report path"]:
    """Give each path the nearest slot, nearest pairs first, none twice; -1 for none."""
    difference = np.stack(
        [
            _difference(getattr(paths, name), getattr(prior, name), name)
            for name in ("departure_azimuth", "departure_zenith", "length")
        ],
        axis=-1,
    )
    cost = np.linalg.norm(difference / UNIT, axis=-1)
    allowed = (cost <= _FARTHEST) & (np.asarray(prior.probability) >= _LIKELY)[:, None]
    cost = np.where(allowed & np.asarray(paths.valid)[:, :, None], cost, np.inf)
    slot = np.full(cost.shape[:2], -1)
    rows = np.arange(len(cost))
    for _ in range(cost.shape[1]):
        best = cost.reshape(len(cost), -1).argmin(axis=1)
        path, column = np.unravel_index(best, cost.shape[1:])
        take = np.flatnonzero(np.isfinite(cost[rows, path, column]))
        slot[take, path[take]] = column[take]
        cost[take, path[take], :] = np.inf
        cost[take, :, column[take]] = np.inf
    return slot


def _difference(reported, predicted, name: str) -> Float[np.ndarray, "report path slot"]:
    difference = np.asarray(reported, dtype=float)[:, :, None] - np.asarray(predicted)[:, None, :]
    return wrap_angle(difference) if name == "departure_azimuth" else difference


def _errors(paths: PathEstimates, prior: PathPrior, slot: Int[np.ndarray, "report path"]):
    """Subtract each path's slot from it; add what map and report state of their errors."""
    rows = np.arange(len(slot))[:, None]
    names = ("departure_azimuth", "departure_zenith", "length")
    error = np.stack(
        [np.asarray(getattr(paths, name)) - getattr(prior, name)[rows, slot] for name in names], -1
    )
    error[..., 0] = wrap_angle(error[..., 0])
    stated = np.stack([np.asarray(getattr(paths, f"{name}_std")) for name in names], axis=-1)
    stated = np.where(np.isfinite(stated), stated, 0.0)
    variance = np.asarray(prior.covariance)[rows, slot] + stated[..., None] ** 2 * np.eye(3)
    return error, variance


def _inside(error: np.ndarray, variance: np.ndarray) -> float:
    scaled = error / UNIT
    spread = variance / (UNIT[:, None] * UNIT) + 1e-12 * np.eye(3)
    distance = np.einsum("ni,ni->n", scaled, np.linalg.solve(spread, scaled[..., None])[..., 0])
    return float(np.mean(distance <= _INSIDE_90))
