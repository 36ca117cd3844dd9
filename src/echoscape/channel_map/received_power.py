"""The map of received power alone: all that cheap radios report.

A reading is one level per transmitter, without angles or delays.  Each transmitter's level is a
Gaussian process over places: a line in the logarithm of distance, plus what walls and furniture
do to it, smooth over about a metre.  Readings are averaged in small cells first, so that
thousands of them cost what some hundred places do.

Takes levels [dB] at known places, and where the transmitters are.
Gives a `SignalStrengthMap`: level and its deviation at any place.
"""

import equinox as eqx
import numpy as np
import pydantic
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from echoscape.checks import InputError

_LEVEL, _SLOPE = 30.0, 30.0  # prior deviations of the line in log distance [dB], [dB per decade]
_FEWEST = 10  # readings of a transmitter
_LEARNT_FROM = 400  # cells that the widths are learnt from


class SignalStrengthSettings(pydantic.BaseModel):
    """How readings are gathered."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float = pydantic.Field(default=0.25, gt=0)
    """Side of the squares in which readings are averaged [m]."""
    nearest: float = pydantic.Field(default=0.5, gt=0)
    """Distances to a transmitter below this count as this [m]."""


class Widths(eqx.Module):
    """What was learnt of one transmitter."""

    shadow: float
    """Deviation of what walls and furniture do [dB]."""
    length: float
    """Distance over which it changes [m]."""
    reading: float
    """Deviation of one reading, fading and turning about included [dB]."""


class _Learnt(eqx.Module):
    """One transmitter: places with readings, and the weights that predict from them."""

    place: Float[np.ndarray, "cell 3"]
    weight: Float[np.ndarray, " cell"]
    factor: Float[np.ndarray, "cell cell"]
    mean: float
    widths: Widths


class SignalStrengthMap(eqx.Module):
    """Place to the level of every transmitter."""

    transmitter: Float[np.ndarray, "transmitter 3"]
    """Where the transmitters are [m]."""
    reading_position: Float[np.ndarray, "reading 3"]
    """Where the readings were taken [m]."""
    learnt: tuple[_Learnt, ...]
    """For each transmitter."""
    nearest: float
    """Distances below this count as this [m]."""

    @property
    def widths(self) -> tuple[Widths, ...]:
        """What was learnt of each transmitter."""
        return tuple(each.widths for each in self.learnt)

    def predict(
        self, place: Float[np.ndarray, "place 3"]
    ) -> tuple[Float[np.ndarray, "place transmitter"], Float[np.ndarray, "place transmitter"]]:
        """Predict the mean level at some places [dB], and the deviation of that mean [dB].

        A single reading scatters about the mean by `Widths.reading` more.
        """
        mean, std = [], []
        for where, known in zip(self.transmitter, self.learnt, strict=True):
            far = _decades(place, where, self.nearest)
            near = _decades(known.place, where, self.nearest)
            across = _kernel(cdist(place, known.place), far, near, known.widths)
            mean.append(known.mean + across @ known.weight)
            prior = known.widths.shadow**2 + _LEVEL**2 + _SLOPE**2 * far**2
            explained = np.sum(across * cho_solve((known.factor, True), across.T).T, axis=1)
            std.append(np.sqrt(np.maximum(prior - explained, 1e-9)))
        return np.stack(mean, axis=1), np.stack(std, axis=1)


def fit_signal_strength(
    position: Float[np.ndarray, "reading 3"],
    level: Float[np.ndarray, "_ _"],
    transmitter: Float[np.ndarray, "transmitter 3"],
    *,
    settings: SignalStrengthSettings | None = None,
) -> SignalStrengthMap:
    """Learn the map; the widths of every transmitter by maximum likelihood.

    Args:
        position: Where the readings were taken [m].
        level: What was received [dB], a row a reading and a column a transmitter, against any one
            reference; NaN where nothing was.
        transmitter: Where the transmitters are [m].
        settings: How to gather readings.

    Raises:
        InputError: A place is not finite, or a transmitter was received too seldom.
    """
    settings = settings or SignalStrengthSettings()
    for name, value in (("position", position), ("transmitter", transmitter)):
        if not np.all(np.isfinite(value)):
            raise InputError(f"{name} needs finite coordinates in metres; some are not")
    if level.shape != (len(position), len(transmitter)):
        raise InputError(
            f"level needs one column for each of {len(transmitter)} transmitters and one row for "
            f"each of {len(position)} places; got shape {level.shape}"
        )
    if np.any(np.isinf(level)):
        raise InputError(
            "levels need finite decibels, or NaN where nothing was received; some are not"
        )
    learnt = []
    for k, where in enumerate(transmitter):
        received = ~np.isnan(level[:, k])
        if received.sum() < _FEWEST:
            raise InputError(
                f"transmitter {k + 1} needs at least {_FEWEST} readings; got {int(received.sum())}"
            )
        place, mean, count = _average(position[received], level[received, k], settings.cell)
        learnt.append(_learn(place, mean, count, where, settings.nearest))
    return SignalStrengthMap(
        np.asarray(transmitter, float), np.asarray(position, float), tuple(learnt), settings.nearest
    )


def _average(position, level, cell):
    """Average readings that share a cell: their place, their level, how many they are."""
    key = np.floor(position / cell).astype(int)
    _, owner, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    owner = owner.ravel()
    total = lambda value: np.bincount(owner, value, minlength=len(count)) / count  # noqa: E731
    place = np.stack([total(position[:, axis]) for axis in range(3)], axis=1)
    return place, total(level), count


def _learn(place, level, count: Int[np.ndarray, " cell"], where, nearest: float) -> _Learnt:
    far, middle = _decades(place, where, nearest), float(np.mean(level))
    some = np.random.default_rng(0).permutation(len(place))[:_LEARNT_FROM]

    def matrix(apart, widths, noise, index):
        spread = np.diag(widths.reading**2 / count[index] + noise**2)
        return _kernel(apart, far[index], far[index], widths) + spread

    between, rest = cdist(place[some], place[some]), level[some] - middle

    def cost(logs):
        widths = Widths(*np.exp(logs[:3]))
        try:
            root = cho_factor(matrix(between, widths, np.exp(logs[3]), some), lower=True)
        except np.linalg.LinAlgError:
            return 1e12
        return 0.5 * rest @ cho_solve(root, rest) + np.sum(np.log(np.diagonal(root[0])))

    start, bounds = (
        np.log([4.0, 1.5, 4.0, 1.0]),
        np.log([(0.3, 30), (0.2, 30), (0.3, 20), (0.1, 20)]),
    )
    logs = minimize(cost, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
    widths, every = Widths(*(float(value) for value in np.exp(logs[:3]))), np.arange(len(place))
    whole = matrix(cdist(place, place), widths, np.exp(logs[3]), every)
    factor, _ = cho_factor(whole, lower=True)
    weight = cho_solve((factor, True), level - middle)
    return _Learnt(place, weight, factor, middle, widths)


def _decades(place, where, nearest):
    """Logarithm of the distance to a transmitter, to the base of ten."""
    return np.log10(np.maximum(np.linalg.norm(place - where, axis=-1), nearest))


def _kernel(separation, far, near, widths: Widths):
    """Covariance of levels: a line in log distance, and a Matern-3/2 process."""
    separation = np.sqrt(3.0) / widths.length * separation
    smooth = widths.shadow**2 * (1.0 + separation) * np.exp(-separation)
    return smooth + _LEVEL**2 + _SLOPE**2 * far[:, None] * near[None]
