"""What the user's position was worth at each instant, and why, in words.

A filter whose covariance is honest says most of it.  Line of sight says more: its two directions
are opposite where headings are exact; and a filter that starts in sight with position and clock
unknown tells what the clock seems to be, from images against line of sight.

Takes the records of filters, and what was detected.
Gives `UserStatus` and a reason for each instant.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.record import Record
from echoscape.tracking.tracks import UserStatus
from echoscape.units import wrap_angle

SUSPECT = 5.0
"""Deviations by which a heading must differ from zero to be suspected."""
FEWEST_IN_SIGHT = 10
"""Instants in sight over which a suspicion must hold."""
MOST_IN_SIGHT = 50
"""Instants in sight over which directions are averaged."""
PENDING_FEW = 3
"""Contradicting lines of sight within seconds from which on a position is uncertain."""
SUSPECT_CLOCK = 5.0
"""Deviations by which a clock must differ from zero to be suspected."""
LEAST_CLOCK = 0.5
"""What it must differ by at least, times the speed of light [m]."""


def user_status(
    record: Record,
    known: Bool[np.ndarray, " time"],
    settings: JointFilter,
    suspect: Record | None = None,
    seen: Detections | None = None,
) -> tuple[Int[np.ndarray, " time"], tuple[str, ...]]:
    """Tell what the user's position was worth at each instant, and why.

    Args:
        record: What the filter left.
        known: Where the position was given.
        settings: The limits.
        suspect: What a filter left that estimates the clock too, where this one does not.
        seen: What was detected, for headings that line of sight contradicts.
    """
    used = (np.asarray(record.detection) >= 0).any(axis=1)
    status = np.where(used, int(UserStatus.TRACKED), int(UserStatus.COASTING))
    reason = np.where(used, "", "nothing was detected").astype(object)
    variance = np.asarray(record.user_covariance)
    std = np.sqrt(np.maximum(variance[:, 0, 0] + variance[:, 1, 1], 0.0))
    share, misfit = np.asarray(record.share), np.asarray(record.misfit)
    pending = np.asarray(record.pending)

    def flag(where, what, words):
        status[where] = int(what)
        for k in np.flatnonzero(where):
            reason[k] = words(k)

    uncertain = UserStatus.UNCERTAIN
    flag(std > settings.uncertain_std, uncertain, lambda k: f"the claimed error is {std[k]:.2g} m")
    flag(
        misfit > settings.uncertain_misfit,
        uncertain,
        lambda k: f"older points are off by {misfit[k]:.2g} times the expected square",
    )
    flag(
        share < settings.uncertain_share,
        uncertain,
        lambda k: f"established points explain {share[k]:.0%} of the strong detections",
    )
    flag(pending >= PENDING_FEW, uncertain, lambda k: "line of sight contradicts the position")
    if suspect is not None:
        clock = np.asarray(suspect.nuisance)[:, 0]
        least = np.maximum(SUSPECT_CLOCK * np.asarray(suspect.nuisance_std)[:, 0], LEAST_CLOCK)
        sight = sight_of(suspect)
        last = np.maximum.accumulate(np.where(sight, np.arange(len(sight)), 0))
        flag(
            last_verdict(np.abs(clock) > least, sight),
            uncertain,
            lambda k: f"the clock seems to be {clock[last[k]]:.3g} m off; try unknown clock",
        )
        shift, doubtful = shift_in_doubt(record, suspect)
        flag(
            doubtful,
            uncertain,
            lambda k: (
                f"line of sight was {shift:.3g} m longer than from where the user was said to be, "
                "which a clock explains too; try unknown clock"
            ),
        )
    if seen is not None:  # said rather than a clock, which a heading that is off imitates
        turned, off = heading_error(record, seen)
        flag(
            off,
            uncertain,
            lambda k: (
                f"line of sight arrives {turned[k]:.3g} rad from where it departs to; "
                "try unknown heading"
            ),
        )
    flag(
        share < 0.25 * settings.uncertain_share,
        UserStatus.LOST,
        lambda k: f"established points explain {share[k]:.0%} of the strong detections",
    )
    flag(std > settings.lost_std, UserStatus.LOST, lambda k: f"the claimed error is {std[k]:.2g} m")
    recalled = np.asarray(record.recalled)
    by_sight = np.asarray(record.relocated) & ~recalled
    moved = UserStatus.RELOCATED
    flag(by_sight, moved, lambda k: "line of sight contradicted the position and moved it")
    flag(recalled, moved, lambda k: "points of before were found again as a set and moved it")
    flag(np.asarray(known), UserStatus.KNOWN, lambda k: "")
    return status, tuple(reason)


def shift_in_doubt(record: Record, suspect: Record) -> tuple[float, Bool[np.ndarray, " time"]]:
    """Ask whether a clock explains what the first line of sight said against the user's position.

    The position was moved away from the station or towards it; until a filter that estimates the
    clock excludes one of that size, the position may have been right.

    Returns:
        By how much line of sight was longer [m], and the instants in doubt.
    """
    moved = np.flatnonzero(np.asarray(record.relocated) & ~np.asarray(record.recalled))
    doubtful = np.zeros(len(record.user), bool)
    if not len(moved) or moved[0] == 0:
        return 0.0, doubtful
    first = moved[0]
    agreed = sight_of(record)[:first].sum()
    if 2 * agreed >= (np.asarray(record.pending)[:first] > 0).sum():
        return 0.0, doubtful  # it was in sight before, and where it was said to be
    user, station = np.asarray(record.user)[:, :3], np.asarray(record.anchor)[first, 0]
    before, after = (np.linalg.norm(user[k] - station) for k in (first - 1, first))
    shift = float(after - before)
    clock, std = (np.asarray(each)[:, 0] for each in (suspect.nuisance, suspect.nuisance_std))
    explained = np.abs(shift - clock) < np.maximum(SUSPECT_CLOCK * std, LEAST_CLOCK)
    doubtful[first:] = explained[first:] & (abs(shift) > LEAST_CLOCK)
    return shift, doubtful


def sight_of(record: Record) -> Bool[np.ndarray, " time"]:
    """Tell at which instants a detection was taken for line of sight."""
    station = np.asarray(record.kind) == AnchorType.STATION
    return (station & (np.asarray(record.detection) >= 0)).any(axis=1)


def heading_error(
    record: Record, seen: Detections
) -> tuple[Float[np.ndarray, " time"], Bool[np.ndarray, " time"]]:
    """Compare the two directions of line of sight, which are opposite where headings are exact.

    Needs no position.  Estimated headings are taken out; the mean over the last instants in sight
    is off where it is `SUSPECT` of its deviations and half a degree from zero, and stays so until
    sight says otherwise.

    Returns:
        The mean [rad], and whether it is off.
    """
    instant = np.flatnonzero(sight_of(record))
    mean, off = (np.zeros(len(record.user), kind) for kind in (float, bool))
    if len(instant) < FEWEST_IN_SIGHT:
        return mean, off
    slot = np.argmax(np.asarray(record.kind)[instant] == AnchorType.STATION, axis=1)
    which = np.asarray(record.detection)[instant, slot]
    measured = np.asarray(seen.measured)[instant, which]
    variance = np.sum(np.asarray(seen.std)[instant, which][:, [1, 3]] ** 2, axis=1)
    variance = variance + np.sum(np.asarray(record.nuisance_std)[instant, 2:] ** 2, axis=1)
    turned = measured[:, 3] - measured[:, 1] - np.pi
    turned = wrap_angle(turned - np.sum(np.asarray(record.nuisance)[instant, 2:], axis=1))
    end = np.arange(FEWEST_IN_SIGHT, len(instant) + 1)
    begin = np.maximum(end - MOST_IN_SIGHT, 0)
    sums = [np.concatenate([[0.0], np.cumsum(each)]) for each in (turned, variance)]
    total, spread = (each[end] - each[begin] for each in sums)
    found = total / (end - begin)
    limit = np.maximum(SUSPECT * np.sqrt(spread) / (end - begin), np.radians(0.5))
    at = np.searchsorted(instant[end - 1], np.arange(len(mean)), side="right") - 1
    mean[at >= 0] = found[at[at >= 0]]
    off[at >= 0] = (np.abs(found) > limit)[at[at >= 0]]
    return mean, off


def last_verdict(
    off: Bool[np.ndarray, " time"], sight: Bool[np.ndarray, " time"]
) -> Bool[np.ndarray, " time"]:
    """Carry on, from each instant in sight, whether most of those before it were off.

    Only line of sight tells a clock or a heading from a turned map, and single ones of its
    detections are false.
    """
    instant = np.flatnonzero(sight)
    verdict = np.zeros(len(off), bool)
    if len(instant) < FEWEST_IN_SIGHT:
        return verdict
    total = np.concatenate([[0], np.cumsum(off[instant])])
    end = np.arange(1, len(instant) + 1)
    begin = np.maximum(end - FEWEST_IN_SIGHT, 0)
    most = total[end] - total[begin] >= 0.8 * FEWEST_IN_SIGHT
    last = np.maximum.accumulate(np.where(sight, np.arange(len(off)), -1))
    at = np.zeros(len(off), bool)
    at[instant] = most
    verdict[last >= 0] = at[last[last >= 0]]
    return verdict
