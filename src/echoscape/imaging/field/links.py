"""The link-free wideband model: every user, station and point has a coefficient of its own.

A millimetre of error turns the phase of a path at will, so at 28 GHz no laboratory can predict it
from stated positions.  What survives is the delay over the band and the phase over one array.  The
phase of each link (user, station, point) is therefore a free complex coefficient, and all links
share the positions of the points, of the users, and the users' clocks.

Takes channels [subcarrier, user, station, antenna], and where everyone is said to be.
Gives columns of points, their Gram matrices over each block (a user and a station), and the
posterior of all links given these.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from echoscape.units import wavelength_of, wavenumber_of


class Scene(NamedTuple):
    """What was received, and where everyone is said to be; arrays of numpy."""

    channel: Complex[np.ndarray, "subcarrier user station antenna"]
    """Channels, users weighted to equal noise."""
    frequency: Float[np.ndarray, " subcarrier"]
    """Of each subcarrier [Hz]."""
    user: Float[np.ndarray, "user 3"]
    """Stated positions of the users [m]."""
    antenna: Float[np.ndarray, "station antenna 3"]
    """Positions of the antennas [m]."""
    amplitude: Float[np.ndarray, " user"]
    """Amplitude that a user sent, relative to the root of the mean energy [1]."""

    @property
    def station(self) -> Float[np.ndarray, "station 3"]:
        """Centres of the stations [m]."""
        return self.antenna.mean(1)


class Nuisance(NamedTuple):
    """What deployments do not know, added to what they state."""

    offset: Float[np.ndarray, "user 3"]
    """Of each user's position [m]."""
    clock: Float[np.ndarray, " user"]
    """Of each user's clock, as a length [m]."""


class Factors(NamedTuple):
    """The two factors of the columns of points."""

    user: Complex[np.ndarray, "subcarrier user point"]
    antenna: Complex[np.ndarray, "subcarrier station antenna point"]


def user_factor(
    scene: Scene, nuisance: Nuisance, point: Float[np.ndarray, "point 3"]
) -> Complex[np.ndarray, "subcarrier user point"]:
    """Make the user's factor: amplitude, and the phase that its delay turns over the band."""
    middle = scene.frequency.mean()
    wavelength = wavelength_of(middle)
    length = np.linalg.norm(point[None] - (scene.user + nuisance.offset)[:, None], axis=-1)
    size = scene.amplitude[:, None] * wavelength / (4 * np.pi * np.maximum(length, wavelength))
    turns = wavenumber_of(scene.frequency - middle)[:, None, None]
    turns = turns * (length + nuisance.clock[:, None])[None]
    return (size[None] * np.exp(-2j * np.pi * turns)).astype(scene.channel.dtype)


def antenna_factor(
    scene: Scene, point: Float[np.ndarray, "point 3"]
) -> Complex[np.ndarray, "subcarrier station antenna point"]:
    """Make the station's factor, the phase of its centre at the middle of the band taken off."""
    middle = scene.frequency.mean()
    wavelength = wavelength_of(scene.frequency)
    length = np.linalg.norm(point[None, None] - scene.antenna[:, :, None], axis=-1)
    centre = np.linalg.norm(point[None] - scene.station[:, None], axis=-1)
    turns = wavenumber_of(scene.frequency - middle)[:, None, None, None] * length[None]
    turns = turns + (wavenumber_of(middle) * (length - centre[:, None]))[None]
    size = wavelength[:, None, None, None] ** 2 * wavenumber_of(middle)
    size = size / (4 * np.pi * np.maximum(length, wavelength.mean())[None])
    return (size * np.exp(-2j * np.pi * turns)).astype(scene.channel.dtype)


def factors_of(scene: Scene, nuisance: Nuisance, point: Float[np.ndarray, "point 3"]) -> Factors:
    """Make both factors of points."""
    return Factors(user_factor(scene, nuisance, point), antenna_factor(scene, point))


def columns_of(factors: Factors) -> Complex[np.ndarray, "user station sample point"]:
    """Multiply the factors into columns, samples being subcarriers and antennas of a block."""
    whole = factors.user[:, :, None, None] * factors.antenna[:, None]
    whole = np.moveaxis(whole, 0, 2)
    users, stations, subcarriers, antennas, points = whole.shape
    return whole.reshape(users, stations, subcarriers * antennas, points)


def blocks_of(channel: np.ndarray) -> Complex[np.ndarray, "user station sample"]:
    """Cut channels into blocks, samples as in `columns_of`."""
    whole = np.moveaxis(channel, 0, 2)
    return whole.reshape(*whole.shape[:2], -1)


class Gram(NamedTuple):
    """All that the posterior of the links needs of samples and columns."""

    product: Complex[np.ndarray, "user station point point"]
    towards: Complex[np.ndarray, "user station point"]
    power: Float[np.ndarray, "user station"]
    samples: int
    """Samples of a block."""


def gram_of(columns: np.ndarray, blocks: np.ndarray) -> Gram:
    """Multiply columns with one another and with the samples of every block."""
    conjugate = np.conj(np.swapaxes(columns, -1, -2))
    towards = (conjugate @ blocks[..., None])[..., 0]
    power = np.sum(np.abs(blocks) ** 2, -1)
    return Gram(conjugate @ columns, towards, power, blocks.shape[-1])


class Links(NamedTuple):
    """Posterior of all links, given which are open, their powers and the noise."""

    mean: Complex[np.ndarray, "user station point"]
    covariance: Complex[np.ndarray, "user station point point"]
    residual: Float[np.ndarray, "user station"]
    """Sum of squares that the means leave of each block."""
    fitted: Float[np.ndarray, "user station"]
    """Degrees of freedom that the links took of each block."""
    precision: Float[np.ndarray, "user station point"]
    """Information on a link from all that the other points leave, own point out."""
    score: Complex[np.ndarray, "user station point"]
    """Its correlation with what the others leave, over the noise."""
    evidence: Float[np.ndarray, "user station"]
    """Log-likelihood of each block with the links integrated out, up to a constant."""


def links_of(
    gram: Gram,
    is_open: Bool[np.ndarray, "user station point"],
    power: Float[np.ndarray, " point"],
    noise: Float[np.ndarray, "user station"],
) -> Links:
    """Condition the links on the samples; statistics as in sparse Bayesian learning.

    Tipping and Faul's ``s`` and ``q`` with the own point taken out, so that a link's evidence can
    be asked whether it is open now or not.
    """
    points = gram.product.shape[-1]
    pair = is_open[..., :, None] & is_open[..., None, :]
    masked = np.where(pair, gram.product, 0) / noise[..., None, None]
    system = masked + np.eye(points) / power
    inverse = np.linalg.inv(system)
    covariance = np.where(pair, inverse, 0)
    towards = np.where(is_open, gram.towards, 0) / noise[..., None]
    mean = (covariance @ towards[..., None])[..., 0]
    volume = np.linalg.slogdet(system)[1] + np.sum(np.log(power))
    explained = np.sum(np.real(np.conj(mean) * towards), -1)
    evidence = explained - gram.power / noise - volume - gram.samples * np.log(noise)
    forward = (gram.product @ mean[..., None])[..., 0]
    residual = gram.power - 2 * np.sum(np.real(np.conj(mean) * gram.towards), -1)
    residual = residual + np.sum(np.real(np.conj(mean) * forward), -1)
    fitted = np.real(np.trace(covariance @ masked, axis1=-2, axis2=-1))
    score = (gram.towards - forward) / noise[..., None]
    spread = np.einsum("kbnm,kbmn->kbn", gram.product @ covariance, gram.product).real
    own = np.einsum("kbnn->kbn", gram.product).real
    information = own / noise[..., None] - spread / noise[..., None] ** 2
    information = np.maximum(information, 1e-9 * own / noise[..., None])
    left = np.where(is_open, np.maximum(1 - power * information, 1e-6), 1.0)
    return Links(
        mean,
        covariance,
        np.maximum(residual, 0),
        fitted,
        information / left,
        score / left,
        evidence,
    )


def link_evidence(score: np.ndarray, precision: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Log Bayes factor of each link being open against closed."""
    gain = power * precision
    return np.abs(score) ** 2 * power / (1 + gain) - np.log1p(gain)


class Segments(NamedTuple):
    """Probabilities that the two segments of links are open."""

    user: Float[np.ndarray, "user point"]
    station: Float[np.ndarray, "station point"]

    def link(self) -> Float[np.ndarray, "user station point"]:
        """Give each link's probability of being open."""
        return self.user[:, None] * self.station[None]


def point_evidence(
    evidence: Float[np.ndarray, "user station point"], prior: Segments
) -> tuple[Float[np.ndarray, " point"], Bool[np.ndarray, "user station point"]]:
    """Ask whether points are there, their segments open or closed by their priors.

    A link is open when both its segments are, Eq. (2) of [multiview-imaging]: a point that only few
    links show, in no such pattern, is not there.  The users' segments are summed over exactly,
    given those of the stations; of these all patterns are where they are few, else those that
    differ in one station from the best that single changes find.

    Returns:
        Log Bayes factors, and the links that are open in the most probable pattern.
    """
    stations, points = prior.station.shape
    closed, free = np.log1p(-prior.user), np.log(prior.user)
    log_open, log_closed = np.log(prior.station), np.log1p(-prior.station)

    def scored(pattern):
        """Score one pattern for every point, and say which users' segments are open in it."""
        held = np.where(pattern, log_open, log_closed).sum(0)
        through = free + np.einsum("kbn,bn->kn", evidence, pattern.astype(evidence.dtype))
        return held + np.logaddexp(closed, through).sum(0), through > closed

    start = np.ones((stations, points), bool)
    best, user = scored(start)
    total, chosen = best, start
    if stations <= _FEW:
        patterns = ~np.array(list(np.ndindex(*(2,) * stations)), bool)[1:]
        for pattern in patterns:
            changed = np.broadcast_to(pattern[:, None], start.shape)
            score, seen = scored(changed)
            total, better = np.logaddexp(total, score), score > best
            chosen, user = np.where(better, changed, chosen), np.where(better, seen, user)
            best = np.maximum(best, score)
        return total, user[:, None] & chosen[None]
    for _ in range(2):
        for station in range(stations):
            changed = chosen ^ (np.arange(stations) == station)[:, None]
            score, seen = scored(changed)
            better = score > best
            chosen, user = np.where(better, changed, chosen), np.where(better, seen, user)
            best = np.maximum(best, score)
    total = best
    for station in range(stations):
        total = np.logaddexp(total, scored(chosen ^ (np.arange(stations) == station)[:, None])[0])
    return total, user[:, None] & chosen[None]


_FEW = 6
"""Stations up to which all patterns of their segments are summed over."""


def learn_power(
    score: np.ndarray,
    precision: np.ndarray,
    prior: np.ndarray,
    power: np.ndarray | None,
    rounds: int = 2,
) -> Float[np.ndarray, " point"]:
    """Learn the mean squared coefficient of the open links of each point.

    By expectation-maximisation over which links are open; from all links alike where no power is
    given.  It is kept above a twentieth of what the noise alone lets appear.
    """
    raw = np.abs(score) ** 2 / precision**2 - 1 / precision
    floor = 0.05 * np.mean(1 / precision, (0, 1))
    learnt = np.maximum(np.mean(raw, (0, 1)), floor) if power is None else power
    odds = np.log(prior) - np.log1p(-prior)
    for _ in range(rounds):
        logit = odds + link_evidence(score, precision, learnt)
        weight = 1 / (1 + np.exp(-np.clip(logit, -60, 60))) + 1e-3
        learnt = np.maximum(np.sum(weight * raw, (0, 1)) / np.sum(weight, (0, 1)), floor)
    return learnt
