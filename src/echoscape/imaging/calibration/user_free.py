"""Which voxels are occupied, without anything being believed of the users but who they are.

Every user has a free complex coefficient at every voxel, so its position, phase and gain leave the
model; stations stay coherent with one another, and which voxels are occupied is the same for all
users: a problem of multiple measurement vectors, solved by sparse Bayesian learning as in
`echoscape.imaging.field`.

Takes a `Scene` of the field and a grid.
Gives `Voxels`: which are occupied, and the coefficient of every user there.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from echoscape.imaging.field.links import (
    Gram,
    Links,
    Scene,
    learn_power,
    link_evidence,
    links_of,
)
from echoscape.imaging.field.places import OPEN_FREE, OPEN_HIDDEN, hidden_from
from echoscape.units import wavelength_of


class Sheet(NamedTuple):
    """The samples, and columns of all voxels as the stations see them."""

    scene: Scene
    samples: Complex[np.ndarray, "subcarrier user station antenna"]
    antenna: Complex[np.ndarray, "subcarrier station antenna voxel"]
    """Free-space channels from the voxels."""
    size: Float[np.ndarray, "user voxel"]
    """Amplitudes from the stated positions of the users."""
    centre: Float[np.ndarray, "voxel 3"]
    radius: float
    cost: float
    """Log-odds of a voxel before anything is seen."""
    floor: float
    """Least mean squared noise of a sample."""


class Voxels(NamedTuple):
    """Occupied voxels, and what is known given these."""

    index: Int[np.ndarray, " point"]
    user: Bool[np.ndarray, "user subcarrier point"]
    """Whether each user's segment is open, the same for every subcarrier."""
    station: Bool[np.ndarray, "station point"]
    power: Float[np.ndarray, " point"]
    noise: float
    log_odds: Float[np.ndarray, " point"]
    links: Links | None = None
    score: float = -np.inf


def make_sheet(scene: Scene, centre: np.ndarray, radius: float, rate: float, floor: float) -> Sheet:
    """Set up the columns of all voxels."""
    wavelength = wavelength_of(scene.frequency)
    length = np.linalg.norm(centre - scene.antenna[:, :, None], axis=-1)
    wide = wavelength[:, None, None, None]
    antenna = wide / (4 * np.pi * np.maximum(length, wide)) * np.exp(-2j * np.pi * length / wide)
    reach = np.linalg.norm(centre - scene.user[:, None], axis=-1)
    middle = wavelength.mean()
    size = scene.amplitude[:, None] * middle / (4 * np.pi * np.maximum(reach, middle))
    cost = float(np.log(rate / (1 - rate)))
    return Sheet(scene, scene.channel, antenna, size, centre, radius, cost, floor)


def nothing(sheet: Sheet) -> Voxels:
    """Begin with no voxel: all that was received is noise."""
    tones, users, stations, _ = sheet.samples.shape
    power = float(np.mean(np.abs(sheet.samples) ** 2))
    none = np.zeros(0)
    return Voxels(
        none.astype(int), np.zeros((users, tones, 0), bool), np.zeros((stations, 0), bool), none,
        power, none,
    )  # fmt: skip


def _columns(sheet: Sheet, index, station) -> Complex[np.ndarray, "subcarrier sample point"]:
    part = sheet.antenna[..., index] * station[None, :, None]
    return part.reshape(part.shape[0], -1, part.shape[-1])


def _rows(samples) -> Complex[np.ndarray, "user subcarrier sample"]:
    return np.moveaxis(samples, 0, 1).reshape(samples.shape[1], samples.shape[0], -1)


def _prior(sheet: Sheet, blocker: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Give the probability that each user's segment to each place is open [user, 1, place]."""
    hidden = hidden_from(sheet.scene.user, blocker, at, sheet.radius)
    return np.where(hidden, OPEN_HIDDEN, OPEN_FREE)[:, None]


def _evidence(score, precision, power, prior):
    """Give the evidence of voxels, and the open segments; a segment is the same for all tones."""
    each = np.sum(link_evidence(score, precision, power), 1, keepdims=True)
    through, closed = np.log(prior) + each, np.log1p(-prior)
    is_open = np.broadcast_to(through > closed, score.shape)
    return np.sum(np.logaddexp(closed, through), axis=(0, 1)), is_open


def _flip(sheet: Sheet, found: Voxels, links: Links, odds: np.ndarray) -> np.ndarray:
    """Open or close the segment of every station that pays most."""
    stations = sheet.samples.shape[2]
    value = links.mean * sheet.size[:, None, found.index]
    columns = sheet.antenna[..., found.index]
    whole = columns * found.station[None, :, None]
    left = sheet.samples - np.einsum("kfn,fban->fkba", value, whole)
    towards = np.einsum("fkba,kfn,fban->bn", left, np.conj(value), np.conj(columns), optimize=True)
    own = np.einsum("kfn,fban->bn", np.abs(value) ** 2, np.abs(columns) ** 2)
    gain = (2 * (towards.real + own * found.station) - own) / found.noise + odds
    gain = np.where(found.station, -gain, gain)
    best = np.argmax(gain, 1)
    flips = np.zeros_like(found.station)
    flips[np.arange(stations), best] = gain[np.arange(stations), best] > 0
    return found.station ^ flips


def settle(sheet: Sheet, found: Voxels, rounds: int = 4) -> Voxels:
    """Alternate coefficients, which segments are open, powers and the noise."""
    if not len(found.index):
        return nothing(sheet)._replace(noise=found.noise)
    at = sheet.centre[found.index]
    prior = _prior(sheet, at, at)
    hidden = hidden_from(sheet.scene.station, at, at, sheet.radius)
    by_station = np.where(hidden, OPEN_HIDDEN, OPEN_FREE)
    station_odds = np.log(by_station) - np.log1p(-by_station)
    size = sheet.size[:, None, found.index]
    rows = _rows(sheet.samples)
    squares = np.sum(np.abs(rows) ** 2, -1)
    for number in range(rounds):
        columns = _columns(sheet, found.index, found.station)
        conjugate = np.conj(np.swapaxes(columns, -1, -2))
        product = size[..., :, None] * (conjugate @ columns)[None] * size[..., None, :]
        towards = size * np.einsum("fns,kfs->kfn", conjugate, rows)
        gram = Gram(product, towards, squares, rows.shape[-1])
        noise = np.full(squares.shape, found.noise)
        links = links_of(gram, found.user, found.power, noise)
        found = found._replace(links=links)
        if number == rounds - 1:
            break
        power = learn_power(links.score, links.precision, prior, found.power)
        _, is_open = _evidence(links.score, links.precision, power, prior)
        free = max(sheet.samples.size - links.fitted.sum(), 0.1 * sheet.samples.size)
        learnt = max(float(links.residual.sum() / free), sheet.floor)
        station = _flip(sheet, found, links, station_odds)
        found = found._replace(power=power, user=is_open, noise=learnt, station=station)
    evidence, _ = _evidence(links.score, links.precision, found.power, prior)
    log_odds = sheet.cost + evidence
    states = np.where(found.user[:, :1], np.log(prior), np.log1p(-prior)).sum()
    states += np.where(found.station, np.log(by_station), np.log1p(-by_station)).sum()
    score = float(links.evidence.sum() + states + sheet.cost * len(at))
    return found._replace(log_odds=log_odds, score=score)


def prune(sheet: Sheet, found: Voxels) -> Voxels:
    """Settle, and delete the least probable voxel until all are more probable than not."""
    found = settle(sheet, found)
    while len(found.index) and found.log_odds.min() < 0:
        stays = np.arange(len(found.index)) != np.argmin(found.log_odds)
        found = settle(sheet, select(found, stays), 3)
    return found


def select(found: Voxels, stays: Bool[np.ndarray, " point"]) -> Voxels:
    """Keep some of the voxels."""
    return found._replace(
        index=found.index[stays], user=found.user[..., stays], station=found.station[:, stays],
        power=found.power[stays], log_odds=found.log_odds[stays],
    )  # fmt: skip


def _candidates(sheet: Sheet, found: Voxels):
    """Score every voxel as one more, all that the listed ones explain projected out."""
    blocker = sheet.centre[found.index]
    seen = ~hidden_from(sheet.scene.station, blocker, sheet.centre, sheet.radius)
    everything = np.arange(len(sheet.centre))
    columns = _columns(sheet, everything, seen)
    conjugate = np.conj(np.swapaxes(columns, -1, -2))
    size = sheet.size[:, None]
    own = size**2 * np.sum(np.abs(columns) ** 2, 1)[None]
    rows, taken = _rows(sheet.samples), 0.0
    if found.links is not None:
        old = _columns(sheet, found.index, found.station)
        value = found.links.mean * sheet.size[:, None, found.index]
        rows = rows - np.einsum("fsn,kfn->kfs", old, value)
        cross = size[..., None] * (conjugate @ old)[None] * sheet.size[:, None, None, found.index]
        taken = np.sum(np.real((cross @ found.links.covariance) * np.conj(cross)), -1)
    precision = np.maximum(own / found.noise - taken / found.noise**2, 1e-6 * own / found.noise)
    precision = np.maximum(precision, 1e-12)
    score = size * np.einsum("fns,kfs->kfn", conjugate, rows) / found.noise
    prior = _prior(sheet, blocker, sheet.centre)
    power = learn_power(score, precision, prior, None)
    evidence, is_open = _evidence(score, precision, power, prior)
    log_odds = evidence + sheet.cost
    log_odds[found.index] = -np.inf
    log_odds[~np.any(seen, 0)] = -np.inf
    return log_odds, power, is_open, seen


def search(sheet: Sheet, start: Voxels, most: int) -> Voxels:
    """Add the best voxel as long as it pays; prune after each addition."""
    found, in_vain = start, set()
    if len(found.index):
        found = prune(sheet, found)
    while len(found.index) < most:
        log_odds, power, is_open, seen = _candidates(sheet, found)
        log_odds[list(in_vain)] = -np.inf
        best = np.argsort(-log_odds)[:1]
        if log_odds[best[0]] <= 0:
            break
        added = found._replace(
            index=np.append(found.index, best),
            user=np.concatenate([found.user, is_open[..., best]], -1),
            station=np.concatenate([found.station, seen[:, best]], -1),
            power=np.append(found.power, power[best]),
            log_odds=np.append(found.log_odds, log_odds[best]),
        )
        added = prune(sheet, added)
        if set(added.index) == set(found.index) or added.score <= found.score:
            in_vain.add(int(best[0]))
            if len(in_vain) > 5:
                break
            continue
        found = added
    return found


def find_voxels(sheet: Sheet, most: int, restarts: int, seed: int = 0) -> Voxels:
    """Search from nothing, then from part of the best while another start finds better."""
    generator = np.random.default_rng(seed)
    best = search(sheet, nothing(sheet), most)
    for _ in range(restarts):
        if len(best.index) < 2:
            break
        weight = np.clip(best.log_odds, 1.0, None)
        count = max(1, round(0.6 * len(best.index)))
        stays = generator.choice(len(best.index), count, replace=False, p=weight / weight.sum())
        mask = np.isin(np.arange(len(best.index)), stays)
        again = search(sheet, select(best, mask), most)
        if again.score > best.score:
            best = again
    return best
