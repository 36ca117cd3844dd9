"""Points added as long as they pay, everything refined after each addition.

Takes a `Scene`, the `Places` where points may stand, and `Priors`.
Gives a `Cloud` of points, with nuisances and the noise learnt with them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.imaging.field.links import (
    Factors,
    Links,
    Nuisance,
    Scene,
    blocks_of,
    columns_of,
    factors_of,
    gram_of,
    learn_power,
    link_evidence,
    links_of,
    point_evidence,
)
from echoscape.imaging.field.places import Places, prior_open, screen
from echoscape.imaging.field.refine import Priors, gauss_newton
from echoscape.progress import Progress, silent

_AROUND = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) / 3
"""Candidates around a place, in steps between places."""
_LISTED = 1000
"""Free voxels up to which all are scored exactly."""


class Settings(NamedTuple):
    """What decides the search; `NoncoherentPoints` documents these."""

    edge: float
    radius: float
    rate: float
    margin: float
    points: int
    steps: int
    together: int
    floor: float
    """Least mean squared noise of a sample."""
    least_share: float
    neighbour: float = 0.0


class Cloud(NamedTuple):
    """Points, and what is known of everything else, given these."""

    point: Float[np.ndarray, "point 3"]
    centre: Float[np.ndarray, "point 3"]
    """Where the prior of each is centred [m]."""
    power: Float[np.ndarray, " point"]
    is_open: Bool[np.ndarray, "user station point"]
    nuisance: Nuisance
    noise: Float[np.ndarray, "user station"]
    log_odds: Float[np.ndarray, " point"]
    score: float = -np.inf
    """Log-posterior, up to a constant."""
    links: Links | None = None
    covariance: Float[np.ndarray, "parameter parameter"] | None = None


def empty(scene: Scene, nuisance: Nuisance | None = None) -> Cloud:
    """Begin with no point: all that was received is noise."""
    users, stations = len(scene.user), len(scene.antenna)
    power = np.mean(np.abs(scene.channel) ** 2, (0, 3))
    noise = np.broadcast_to(power.mean(1, keepdims=True), power.shape).astype(float)
    nowhere = np.zeros((0, 3))
    is_open = np.zeros((users, stations, 0), bool)
    nuisance = nuisance or Nuisance(np.zeros((users, 3)), np.zeros(users))
    return Cloud(nowhere, nowhere, np.zeros(0), is_open, nuisance, noise, np.zeros(0))


def _learn_noise(links: Links, samples: int, parameters: int, floor: float) -> np.ndarray:
    """Learn each user's noise from what the links leave, drawn towards that of all users.

    Model errors (positions, gains, second bounces) are larger where more is received, so users
    differ; the mean of all weighs as much as a third of a user's own samples.
    """
    users, stations = links.residual.shape
    count = stations * samples
    left = np.maximum(count - links.fitted.sum(1) - parameters / users, 0.1 * count)
    residual = links.residual.sum(1)
    weight = 0.3 * count
    own = (residual + weight * residual.sum() / left.sum()) / (left + weight)
    return np.repeat(np.maximum(own, floor)[:, None], stations, 1)


def neighbours(
    at: Float[np.ndarray, "place 3"], point: Float[np.ndarray, "point 3"], edge: float
) -> Int[np.ndarray, " place"]:
    """Count the points in voxels that share a face with each place, three at most.

    On a flat face every voxel has four such neighbours, on an edge three or two; counting no more
    than three, insides of bodies gain nothing over surfaces.
    """
    apart = np.abs(at[:, None] - point[None]).sum(-1) / edge
    return np.minimum(np.sum((apart > 0.5) & (apart < 1.5), 1), 3)


def _markov(at: np.ndarray, cloud: Cloud, settings: Settings) -> Float[np.ndarray, " place"]:
    """Give what the points beside them add to the log-odds of places."""
    if not settings.neighbour:
        return np.zeros(len(at))
    return settings.neighbour * neighbours(at, cloud.point, settings.edge)


def settle(
    scene: Scene, cloud: Cloud, settings: Settings, rounds: int = 4
) -> tuple[Cloud, Factors]:
    """Alternate links, which of them are open, powers and the noise."""
    factors = factors_of(scene, cloud.nuisance, cloud.point)
    gram = gram_of(columns_of(factors), blocks_of(scene.channel))
    prior = prior_open(scene, cloud.nuisance, cloud.point, cloud.point, settings.radius)
    is_open, power, noise = cloud.is_open, cloud.power, cloud.noise
    for _ in range(rounds - 1):
        links = links_of(gram, is_open, power, noise)
        power = learn_power(links.score, links.precision, prior.link(), power)
        _, is_open = point_evidence(link_evidence(links.score, links.precision, power), prior)
        noise = _learn_noise(links, gram.samples, 3 * len(power), settings.floor)
    links = links_of(gram, is_open, power, noise)
    cost = np.log(settings.rate / (1 - settings.rate)) - settings.margin
    log_odds, _ = point_evidence(link_evidence(links.score, links.precision, power), prior)
    log_odds = cost + log_odds + _markov(cloud.point, cloud, settings)
    states = sum(
        np.sum(np.where(is_open.any(axis), np.log(each), np.log1p(-each)))
        for axis, each in ((1, prior.user), (0, prior.station))
    )
    pairs = 0.5 * _markov(cloud.point, cloud, settings).sum()
    score = float(links.evidence.sum() + states + cost * len(power) + pairs)
    cloud = cloud._replace(
        is_open=is_open, power=power, noise=noise, log_odds=log_odds, links=links, score=score
    )
    return cloud, factors


def _select(cloud: Cloud, stays: Bool[np.ndarray, " point"]) -> Cloud:
    return cloud._replace(
        point=cloud.point[stays],
        centre=cloud.centre[stays],
        power=cloud.power[stays],
        is_open=cloud.is_open[..., stays],
        log_odds=cloud.log_odds[stays],
    )


def least_log_odds(at: np.ndarray, cloud: Cloud, settings: Settings) -> np.ndarray:
    """Give the log-odds that points need; by the surface prior none where one stands beside."""
    least = settings.least_share * float(np.max(cloud.log_odds, initial=0.0))
    return np.where(_markov(at, cloud, settings) > 0, 0.0, least)


def prune(scene: Scene, cloud: Cloud, settings: Settings) -> Cloud:
    """Settle, and delete the least probable point until all are probable enough."""
    cloud, _ = settle(scene, cloud, settings)
    while len(cloud.point):
        beyond = cloud.log_odds - least_log_odds(cloud.point, cloud, settings)
        if beyond.min() >= 0:
            break
        stays = np.arange(len(cloud.point)) != np.argmin(beyond)
        cloud, _ = settle(scene, _select(cloud, stays), settings, 3)
    return cloud


def refine(
    scene: Scene, cloud: Cloud, settings: Settings, priors: Priors, places: Places, steps: int
) -> Cloud:
    """Take Gauss-Newton steps, links settled before each; then prune."""
    cloud, factors = settle(scene, cloud, settings, 3)
    longest = 0.25 * settings.edge
    free = priors.point > 0 or np.any(priors.user > 0) or np.any(priors.clock > 0)
    for _ in range(steps if len(cloud.point) and free else 0):
        if cloud.links is None:
            break
        step = gauss_newton(
            scene,
            cloud.point,
            cloud.centre,
            cloud.nuisance,
            factors,
            cloud.links,
            cloud.noise,
            priors,
        )
        point = places.inside(cloud.point + np.clip(step.point, -longest, longest))
        nuisance = Nuisance(
            cloud.nuisance.offset + np.clip(step.offset, -longest, longest),
            cloud.nuisance.clock + np.clip(step.clock, -longest, longest),
        )
        cloud = cloud._replace(
            point=point,
            nuisance=nuisance,
            centre=places.centre_of(point),
            covariance=step.covariance,
        )
        cloud, factors = settle(scene, cloud, settings, 2)
    return prune(scene, cloud, settings)


class _Candidates(NamedTuple):
    point: np.ndarray
    log_odds: np.ndarray
    power: np.ndarray
    is_open: np.ndarray


def _evaluate(scene, cloud, at, factors, settings) -> _Candidates:
    """Score candidates exactly, all that the points explain projected out."""
    columns = columns_of(factors_of(scene, cloud.nuisance, at))
    own = np.sum(np.abs(columns) ** 2, 2)
    conjugate = np.conj(np.swapaxes(columns, -1, -2))
    left, taken = blocks_of(scene.channel), 0.0
    if len(cloud.point):
        old = columns_of(factors) * cloud.is_open[:, :, None]
        left = left - (old @ cloud.links.mean[..., None])[..., 0]
        cross = conjugate @ old
        taken = np.sum(np.real((cross @ cloud.links.covariance) * np.conj(cross)), -1)
    noise = cloud.noise[..., None]
    precision = np.maximum(own / noise - taken / noise**2, 1e-6 * own / noise)
    score = (conjugate @ left[..., None])[..., 0] / noise
    prior = prior_open(scene, cloud.nuisance, cloud.point, at, settings.radius)
    power = learn_power(score, precision, prior.link(), None)
    evidence, is_open = point_evidence(link_evidence(score, precision, power), prior)
    cost = np.log(settings.rate / (1 - settings.rate)) - settings.margin
    cost = cost + _markov(at, cloud, settings)
    return _Candidates(at, evidence + cost, power, is_open)


def _best(scene, cloud, factors, places, settings, barred) -> _Candidates:
    """Find the best candidate around each of the best places; best first."""
    score = screen(scene, cloud, factors, places, settings.radius)
    for place in barred:
        score[np.linalg.norm(places.place - place, axis=1) < 0.5 * settings.edge] = -np.inf
    chosen = []
    for _ in range(settings.together + 1):
        chosen.append(places.place[int(np.argmax(score))])
        near = np.linalg.norm(places.place - chosen[-1], axis=1) < 1.5 * settings.edge
        score[near] = -np.inf
    at = (np.array(chosen)[:, None] + places.step * _AROUND[None]).reshape(-1, 3)
    found = _evaluate(scene, cloud, at, factors, settings)
    which = np.argmax(found.log_odds.reshape(len(chosen), -1), 1)
    return _ranked(found, which + len(_AROUND) * np.arange(len(chosen)))


def _best_voxels(scene, cloud, factors, places, settings, barred) -> _Candidates:
    """Find the best free voxels, no two beside one another; best first.

    Columns of neighbours in a body are alike, so all voxels are scored exactly as far as they are
    not more than `_LISTED`: with what the points explain merely taken off F1 falls by a quarter.
    """
    place = places.place
    taken = np.concatenate([cloud.point, *(each[None] for each in barred)])
    place = np.delete(place, places.grid.index_of(taken), axis=0)
    if len(place) > _LISTED:
        score = screen(scene, cloud, factors, places, settings.radius)
        score[places.grid.index_of(taken)] = -np.inf
        place = places.place[np.argsort(-score)[:_LISTED]]
    found = _evaluate(scene, cloud, place, factors, settings)
    order, chosen = np.argsort(-found.log_odds), []
    for index in order[: 20 * settings.together]:
        apart = np.linalg.norm(place[chosen] - place[index], axis=1)
        if len(chosen) <= settings.together and np.all(apart > 1.5 * settings.edge):
            chosen.append(index)
    return _ranked(found, np.array(chosen))


def _ranked(found: _Candidates, which: np.ndarray) -> _Candidates:
    which = which[np.argsort(-found.log_odds[which])]
    return _Candidates(
        found.point[which], found.log_odds[which], found.power[which], found.is_open[..., which]
    )


def search(
    scene: Scene,
    start: Cloud,
    places: Places,
    settings: Settings,
    priors: Priors,
    progress: Progress = silent,
) -> Cloud:
    """Add the best candidates as long as they pay; refine after each addition.

    Several are added at once as long as they are at least half as probable as the best and far
    from one another.  A candidate that does not survive the refinement is barred from there on.
    """
    cloud = start
    barred: list[np.ndarray] = []
    if len(cloud.point):
        cloud = refine(scene, cloud, settings, priors, places, settings.steps)
    while len(cloud.point) < settings.points:
        progress(len(cloud.point), settings.points, "points")
        factors = factors_of(scene, cloud.nuisance, cloud.point)
        best = _best_voxels if settings.neighbour else _best
        found = best(scene, cloud, factors, places, settings, barred)
        if found.log_odds[0] <= least_log_odds(found.point[:1], cloud, settings):
            break
        pays = found.log_odds > 0.5 * found.log_odds[0]
        pays[settings.together :] = False
        at = places.inside(found.point[pays])
        added = cloud._replace(
            point=np.concatenate([cloud.point, at]),
            centre=np.concatenate([cloud.centre, places.centre_of(at)]),
            power=np.concatenate([cloud.power, found.power[pays]]),
            is_open=np.concatenate([cloud.is_open, found.is_open[..., pays]], -1),
            log_odds=np.concatenate([cloud.log_odds, found.log_odds[pays]]),
        )
        added = refine(scene, added, settings, priors, places, settings.steps)
        grown = len(added.point) > len(cloud.point) and not settings.neighbour
        if added.score <= cloud.score and not grown:
            barred.append(found.point[0])
            if len(barred) > 3:
                break
            continue
        cloud = added
    return refine(scene, cloud, settings, priors, places, settings.steps + 1)


def part_of(cloud: Cloud, share: float, generator: np.random.Generator) -> Cloud:
    """Keep a random share of the points, the more probable ones rather than others."""
    weight = np.clip(cloud.log_odds, 1.0, None)
    count = max(1, round(share * len(cloud.point)))
    stay = generator.choice(len(weight), count, replace=False, p=weight / weight.sum())
    return _select(cloud, np.isin(np.arange(len(weight)), stay))
