"""How good fixes are against the truth, and how honest about it.

Every error is horizontal.  A target without any echo is lost: its error counts as infinite in the
median and the percentile, beyond every limit, and in no root mean square.  The others have a fix;
those of them that carry no warning are located.  What a fix claims is
its whole posterior, the mixture of its modes: the truth is inside the 90 % region if no more
than 90 % of the posterior are more likely than the truth.  For a single mode that region is the
90 % ellipse.

Takes a `Fix` and where the targets were.
Gives `Scores`.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.localization.fix import Fix, FixStatus

_SINGLE = 0.999  # share of the posterior above which one mode is all of it
_DRAWS = 500  # of a mixture, to find how much of it is more likely than the truth
_SMALLEST = 1e-6  # [m^2] variance added, so that a claim of no error can be compared
_TOGETHER = 2000  # targets whose draws are in memory at once
_FLAGS = (
    FixStatus.AMBIGUOUS,
    FixStatus.OUTSIDE,
    FixStatus.UNEXPLAINED,
    FixStatus.BIASED,
    FixStatus.SEVERAL,
)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Errors of a set of targets; shares are of all targets unless stated."""

    count: int
    """Targets."""
    lost: float
    """Share without any echo."""
    rmse: float | None
    """Root mean square error of all fixes, the flagged ones too [m]; None if there are none."""
    located_rmse: float | None
    """The same of those that are located, without any flag."""
    median: float
    """Median error, lost ones counted as infinite [m]."""
    p90: float
    """90th percentile of the error, lost ones counted as infinite [m]."""
    within_1: float
    """Share within 1 m."""
    within_3: float
    """Share within 3 m."""
    within_10: float
    """Share within 10 m."""
    beyond_10: float
    """Share beyond 10 m, lost ones among them."""
    inside_50: float | None
    """Share of the fixes whose truth is inside the 50 % region; None if there are none."""
    inside_90: float | None
    """The same for the 90 % region."""
    inside_99: float | None
    """The same for the 99 % region."""
    flagged: float
    """Share with a fix that warns: ambiguous, outside, unexplained, biased, several."""
    flagged_errors: float | None
    """Share of the fixes beyond 10 m that were flagged; None if there are none."""
    kept: "Scores | None" = None
    """Scores of the share of narrowest posterior."""


def score(fix: Fix, truth: Float[np.ndarray, "target 3"], *, keep: float = 0.8) -> Scores:
    """Compare fixes with the truth.

    Args:
        fix: The fixes.
        truth: Where each of the fix's targets was [m].
        keep: Share of the targets, those of smallest `Fix.spread`, that is scored once more.
    """
    if len(truth) != len(fix.target) or not len(truth):
        raise ValueError(f"{len(fix.target)} fixes need as many true positions; got {len(truth)}")
    if not 0 < keep <= 1:
        raise ValueError(f"the share to keep must lie above 0 and up to 1; got {keep}")
    fixed = fix.status != FixStatus.NO_ECHO
    error = np.linalg.norm((fix.best - truth)[:, :2], axis=1)
    error = np.where(fixed, error, np.inf)
    hpd_level = claimed_level(fix, truth)
    flagged = np.isin(fix.status, _FLAGS)
    order = np.argsort(np.where(fixed, fix.spread, np.inf), kind="stable")
    narrow = order[: max(1, round(keep * len(order)))]
    kept = _score(error[narrow], hpd_level[narrow], flagged[narrow])
    return dataclasses.replace(_score(error, hpd_level, flagged), kept=kept)


def score_against(
    fix: Fix, number: Int[np.ndarray, " truth"], place: Float[np.ndarray, "truth 3"]
) -> Scores:
    """Compare fixes with the truth by the numbers of their targets.

    Args:
        fix: The fixes; one without covariance is scored without its regions.
        number: Numbers of all targets that there were.  One without a fix counts as lost.
        place: Where each was [m].

    Raises:
        InputError: A fix is of a target that the truth does not have.
    """
    strange = ~np.isin(fix.target, number)
    if strange.any():
        raise InputError(
            f"target {fix.target[int(np.argmax(strange))]} has a fix, but the truth has no target "
            "of this number; give the truth that the echoes were made from"
        )
    order = np.argsort(number)
    number, place = number[order], place[order]
    row = np.searchsorted(number, fix.target)
    stated = bool(np.isfinite(fix.covariance[fix.valid][..., :2, :2]).all())
    covariance = np.where(np.isfinite(fix.covariance), fix.covariance, 0.0)

    def all_rows(values, empty):
        full = np.full((len(number), *values.shape[1:]), empty, dtype=values.dtype)
        full[row] = values
        return full

    whole = Fix(
        target=number,
        position=all_rows(fix.position, 0.0),
        covariance=all_rows(covariance, 0.0),
        log_likelihood=all_rows(fix.log_likelihood, 0.0),
        probability=all_rows(fix.probability, 0.0),
        agreeing_starts=all_rows(fix.agreeing_starts, 0),
        starts=all_rows(fix.starts, 0),
        status=all_rows(fix.status, int(FixStatus.NO_ECHO)),
        valid=all_rows(fix.valid, False),
    )
    found = score(whole, place)
    if not stated:
        found = dataclasses.replace(
            found, inside_50=None, inside_90=None, inside_99=None, kept=None
        )
    return found


def claimed_level(fix: Fix, truth: Float[np.ndarray, "target 3"]) -> Float[np.ndarray, " target"]:
    """Measure the share of each posterior that is more likely than the truth, in the plane.

    If the claims are right it is uniform between 0 and 1.  It is exact where one mode holds the
    posterior, and counted over draws of the mixture elsewhere (the same ones on every call).
    """
    weight = np.where(fix.valid, fix.probability, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = weight / np.where(total > 0, total, 1.0)
    covariance = fix.covariance[..., :2, :2] + _SMALLEST * np.eye(2)
    covariance = np.where(fix.valid[..., None, None], covariance, np.eye(2))
    inverse = np.linalg.inv(covariance)
    difference = truth[:, :2] - fix.best[:, :2]
    hpd_level = -np.expm1(-0.5 * np.einsum("ti,tij,tj->t", difference, inverse[:, 0], difference))
    generator = np.random.default_rng(0)
    mixed = np.flatnonzero(weight[:, 0] < _SINGLE)
    root = np.linalg.cholesky(covariance)
    for rows in np.split(mixed, range(_TOGETHER, len(mixed), _TOGETHER)):
        drawn = generator.uniform(size=(len(rows), _DRAWS, 1))
        mode = (drawn > np.cumsum(weight[rows], axis=1)[:, None]).sum(axis=-1)
        mode = np.minimum(mode, weight.shape[1] - 1)
        row = rows[:, None]
        noise = generator.standard_normal((*mode.shape, 2))
        draw = fix.position[row, mode, :2] + np.einsum("tdij,tdj->tdi", root[row, mode], noise)
        there = _density(draw, fix, rows, weight, inverse)
        here = _density(truth[rows, None, :2], fix, rows, weight, inverse)
        hpd_level[rows] = np.mean(there > here, axis=1)
    return hpd_level


def _density(point, fix: Fix, rows, weight, inverse) -> Float[np.ndarray, "target point"]:
    """Evaluate the mixture at some points of each target."""
    density = np.zeros(point.shape[:2])
    for k in range(weight.shape[1]):
        difference = point - fix.position[rows, None, k, :2]
        distance = np.einsum("tdi,tij,tdj->td", difference, inverse[rows, k], difference)
        height = weight[rows, k] * np.sqrt(np.linalg.det(inverse[rows, k]))
        density += height[:, None] * np.exp(-0.5 * distance)
    return density


def _score(error, hpd_level, flagged) -> Scores:
    fixed = np.isfinite(error)
    wrong = fixed & (error > 10.0)

    def rms(chosen) -> float | None:
        return float(np.sqrt(np.mean(error[chosen] ** 2))) if chosen.any() else None

    def inside(share: float) -> float | None:
        return float(np.mean(hpd_level[fixed] <= share)) if fixed.any() else None

    def quantile(share: float) -> float:
        # The next value up, not a mean with an infinite one.
        return float(
            np.quantile(error, share, method="higher" if np.isinf(error).any() else "linear")
        )

    return Scores(
        count=len(error),
        lost=float(np.mean(~fixed)),
        rmse=rms(fixed),
        located_rmse=rms(fixed & ~flagged),
        median=quantile(0.5),
        p90=quantile(0.9),
        within_1=float(np.mean(error <= 1.0)),
        within_3=float(np.mean(error <= 3.0)),
        within_10=float(np.mean(error <= 10.0)),
        beyond_10=float(np.mean(error > 10.0)),
        inside_50=inside(0.5),
        inside_90=inside(0.9),
        inside_99=inside(0.99),
        flagged=float(np.mean(flagged)),
        flagged_errors=float(np.mean(flagged[wrong])) if wrong.any() else None,
    )


@dataclasses.dataclass(frozen=True)
class Claims:
    """What fixes say of themselves, where the truth is not known."""

    targets: int
    """Targets."""
    status: dict[str, int]
    """How many have each status."""
    median_spread: float | None
    """Median standard deviation of the posteriors of those with any echo [m]; None if none."""
    narrow: float
    """Share of the targets whose posterior is narrower than 3 m."""


def summarize_fix(fix: Fix) -> Claims:
    """Count the statuses of fixes and the errors that they claim."""
    detected = fix.status != FixStatus.NO_ECHO
    spread = np.where(detected, fix.spread, np.inf)
    return Claims(
        targets=len(fix.target),
        status={each.name.lower(): int(np.sum(fix.status == each)) for each in FixStatus},
        median_spread=float(np.median(spread[detected])) if detected.any() else None,
        narrow=float(np.mean(spread < 3.0)) if len(spread) else 0.0,
    )
