"""Users as passive targets: the echoes a base station would get from where they stand.

A target at a user's place sends echoes along all ordered pairs of that user's paths.  With a
link budget each echo is heard or not, and measured as well as its signal-to-noise ratio allows;
without one all are heard and all have the same stated errors, for comparisons.  The reports are
taken as the truth.

Takes `Reports` and a key.
Gives `SimulatedEchoes`: echoes in no order, and how many there could have been.
"""

from typing import Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from echoscape.checks import InputError
from echoscape.display import expect
from echoscape.estimation import (
    LinkBudget,
    delay_deviation,
    direction_deviation,
    echo_power,
    integrated_snr,
)
from echoscape.propagation import Paths, target_gain
from echoscape.reports.echo import Echoes
from echoscape.reports.report import Reports
from echoscape.units import from_db, length_of, wavelength_of, wrap_angle

_ANGLES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")
_FIELDS = (*_ANGLES, "length", "power", *(f"{name}_std" for name in (*_ANGLES, "length")))


class SimulatedEchoes(eqx.Module):
    """Echoes of targets, and what became of those that could be."""

    echoes: Echoes
    """One set for each target, also where nothing was heard."""
    possible: Int[np.ndarray, " set"]
    """Pairs of the target's strongest paths."""
    detectable: Int[np.ndarray, " set"]
    """Those above the threshold; all of them without a link budget."""


def make_echoes(
    reports: Reports,
    key: PRNGKeyArray,
    *,
    budget: LinkBudget | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    cross_section: float | None = None,
    carrier_frequency: float | None = None,
    strongest: int = 5,
    pairs: Literal["all", "reciprocal"] = "all",
    missed: float = 0.0,
    false: float = 0.0,
    listener: Reports | None = None,
    sections: Float[np.ndarray, "set out back"] | None = None,
) -> SimulatedEchoes:
    """Make the echoes of passive targets standing where the users of some reports stand.

    Args:
        reports: Their users are the targets; the report's number becomes the target's.
        key: One key, one answer.
        budget: Decides what is heard and how well.
        angle_std: Without a budget: deviation of every angle [rad].
        delay_std: Without a budget: deviation of every delay [s].
        cross_section: Without a budget: the target's radar cross-section, 10 m^2 if not given
            [m^2].  An echo's power is ``4 pi sigma / wavelength^2`` times both one-way gains.
        carrier_frequency: Without a budget: the carrier, 28 GHz if not given [Hz].
        strongest: How many of a target's paths take part.
        pairs: "all" ordered pairs of paths, or only the "reciprocal" ones that return the way
            they came.
        missed: Share of the echoes lost for other reasons.
        false: Mean number of false echoes for each true one.  They have any azimuth, zenith
            angle and delay within the reports' own, and the power and errors of a true echo.
        listener: The same users' reports at the station that listens, row by row, where that is
            not the station that sends; then no way back is the way out.
        sections: Radar cross-section of each target between each of its paths out and back, in
            place of that of the budget or of `cross_section` [m^2].

    Returns:
        Sets in the order of the reports, echoes within a set in random order; a target that
        nobody hears is a set without a valid echo.

    Raises:
        InputError: The options contradict one another or are out of range.
    """
    expect(reports, Reports, "make_echoes")
    target = (cross_section, carrier_frequency)
    _check_options(budget, angle_std, delay_std, target, strongest, missed, false)
    if listener is not None:
        _check_listener(reports, listener, pairs)
    heard = reports if listener is None else listener
    back = heard.estimates
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    truth, present = _pairs(reports.estimates, back, strongest, pairs, sections)
    possible = present.sum(axis=1)
    if budget is not None:
        present = _hear(truth, present, budget, generator)
    elif angle_std is not None and delay_std is not None:
        errors = dict.fromkeys(_ANGLES, angle_std) | {"length": length_of(delay_std)}
        for name, std in errors.items():
            truth[f"{name}_std"] = np.full(present.shape, std, dtype=float)
        gain = _target_gain(*target)
        if sections is not None:
            gain = _target_gain(1.0, target[1]) * truth["section"]
        truth["power"] = gain * truth["outward"] * truth["back"]
    detectable = present.sum(axis=1)
    present &= generator.random(present.shape) >= missed
    _measure(truth, generator)
    truth, present = _add_false(truth, present, (reports.estimates, back), false, generator)
    names = tuple(dict.fromkeys(heard.station + reports.station))
    sender = np.array([names.index(name) for name in reports.station], int)[reports.station_index]
    return SimulatedEchoes(
        echoes=Echoes(
            estimates=_shuffle(truth, present, generator),
            target=reports.report,
            time=reports.time,
            station_index=heard.station_index,
            station=names,
            sender_index=None if listener is None else sender,
        ),
        possible=possible,
        detectable=detectable,
    )


def _target_gain(cross_section: float | None, carrier_frequency: float | None) -> float:
    """Give what a target multiplies both one-way gains with, by the defaults of `LinkBudget`."""
    usual = LinkBudget()
    section = from_db(usual.cross_section_dbsm) if cross_section is None else cross_section
    return target_gain(section, wavelength_of(carrier_frequency or usual.carrier_frequency))


def _check_options(budget, angle_std, delay_std, target, strongest, missed, false) -> None:
    fixed = (angle_std, delay_std)
    if budget is not None and any(std is not None for std in fixed):
        raise InputError("give a link budget or fixed deviations of angle and delay, not both")
    if budget is None and any(std is None for std in fixed):
        raise InputError("without a link budget both angle_std [rad] and delay_std [s] are needed")
    if budget is not None and any(value is not None for value in target):
        raise InputError(
            "a link budget states the cross-section and the carrier: leave cross_section and "
            "carrier_frequency out, or the budget"
        )
    for name, unit, std in (
        ("angle_std", "rad", angle_std),
        ("delay_std", "s", delay_std),
        ("cross_section", "m^2", target[0]),
        ("carrier_frequency", "Hz", target[1]),
    ):
        if std is not None and not 0 < std < np.inf:
            raise InputError(f"{name} must be finite and above zero, in {unit}; got {std}")
    if strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {strongest}")
    if not 0 <= missed <= 1:
        raise InputError(f"missed must be a share between 0 and 1; got {missed}")
    if not 0 <= false < np.inf:
        raise InputError(f"false must be a number of echoes per true one, 0 or more; got {false}")


def _pairs(
    out: Paths,
    back: Paths,
    strongest: int,
    pairs: str,
    sections: Float[np.ndarray, "set out back"] | None,
) -> tuple[dict[str, np.ndarray], Bool[np.ndarray, "set echo"]]:
    """Arrange the strongest paths of every target, out and back, as echoes without errors."""
    order_out, order_back = _by_power(out, strongest), _by_power(back, strongest)
    count, more = order_out.shape[1], order_back.shape[1]
    index = np.arange(count)
    i, j = (index, index) if pairs == "reciprocal" else np.divmod(np.arange(count * more), more)

    def take(name):
        leave = np.take_along_axis(np.asarray(getattr(out, name)), order_out, axis=1)
        arrive = np.take_along_axis(np.asarray(getattr(back, name)), order_back, axis=1)
        return leave[:, i], arrive[:, j]

    valid = np.logical_and(*take("valid"))
    outward, home = (np.where(valid, power, 0.0) for power in take("power"))
    truth = {"length": sum(take("length")), "outward": outward, "back": home}
    if sections is not None:
        row = np.arange(len(sections))[:, None]
        truth["section"] = sections[row, order_out[:, i], order_back[:, j]]
    for kind in ("azimuth", "zenith"):  # both are directions at a station: a report's departures
        truth[f"departure_{kind}"], truth[f"arrival_{kind}"] = take(f"departure_{kind}")
        leave, arrive = take(f"departure_{kind}_std")
        truth[f"departure_{kind}_unknown"] = np.isinf(leave)
        truth[f"arrival_{kind}_unknown"] = np.isinf(arrive)
    truth["length_unknown"] = np.logical_or(*map(np.isinf, take("length_std")))
    # a station that hears itself sees the same target both ways round
    low, high = (i, j) if out is not back else (np.minimum(i, j), np.maximum(i, j))
    truth["pair"] = low * more + high
    return truth, valid


def _by_power(estimates: Paths, strongest: int) -> Int[np.ndarray, "set path"]:
    valid = np.asarray(estimates.valid)
    power = np.where(valid, -np.asarray(estimates.power, dtype=float), np.inf)
    return np.argsort(power, axis=1, kind="stable")[:, :strongest]


def _check_listener(reports: Reports, listener: Reports, pairs: str) -> None:
    same = len(listener.report) == len(reports.report) and np.allclose(
        listener.position, reports.position, atol=1e-6
    )
    if not same:
        raise InputError(
            f"the listener's reports need the same users in the same order; got "
            f"{len(listener.report)} of them for {len(reports.report)}, or other places"
        )
    if pairs == "reciprocal":
        raise InputError(
            "no echo returns the way it came where another station listens: ask for all pairs"
        )


def _hear(
    truth: dict[str, np.ndarray],
    present: Bool[np.ndarray, "set echo"],
    budget: LinkBudget,
    generator: np.random.Generator,
) -> Bool[np.ndarray, "set echo"]:
    """Add the power and deviations of every echo; return which are above the threshold."""
    section = np.ones(present.shape)
    if "section" in truth:
        section = truth["section"] / from_db(budget.cross_section_dbsm)
    if budget.fluctuating:
        every = generator.exponential(size=(len(present), truth["pair"].max(initial=0) + 1))
        section = section * every[:, truth["pair"]]  # (i, j) and (j, i) see the same target
    snr = section * integrated_snr(budget, echo_power(budget, truth["outward"], truth["back"]))
    heard = present & (snr >= budget.threshold)
    snr = np.where(heard, snr, 1.0)
    truth["power"] = section * budget.target_gain * truth["outward"] * truth["back"]
    truth["length_std"] = length_of(np.asarray(delay_deviation(budget, snr)))
    for end, rows, columns in (
        ("departure", budget.transmit_rows, budget.transmit_columns),
        ("arrival", budget.receive_rows, budget.receive_columns),
    ):
        azimuth, zenith = truth[f"{end}_azimuth"], truth[f"{end}_zenith"]
        deviations = direction_deviation(budget, snr, azimuth, zenith, rows=rows, columns=columns)
        truth[f"{end}_azimuth_std"] = np.asarray(deviations[0])
        truth[f"{end}_zenith_std"] = np.asarray(deviations[1])
    return heard


def _measure(truth: dict[str, np.ndarray], generator: np.random.Generator) -> None:
    """Turn truth into measurements: what is unknown holds zero and an infinite deviation."""
    for name in (*_ANGLES, "length"):
        std = np.where(truth[f"{name}_unknown"], np.inf, truth[f"{name}_std"])
        measured = np.isfinite(std)
        noise = generator.standard_normal(std.shape) * np.where(measured, std, 0.0)
        truth[name] = np.where(measured, _in_range(name, truth[name] + noise), 0.0)
        truth[f"{name}_std"] = std


def _in_range(name: str, values: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    if name.endswith("azimuth"):
        return wrap_angle(values)
    return np.clip(values, 0.0, np.pi if name.endswith("zenith") else None)


def _add_false(
    truth,
    present,
    ends: tuple[Paths, Paths],
    false: float,
    generator: np.random.Generator,
) -> tuple[dict[str, np.ndarray], Bool[np.ndarray, "set echo"]]:
    """Append false echoes that carry the power and deviations of a true one of their set."""
    many = generator.poisson(false * present.sum(axis=1))
    width = int(many.max(initial=0))
    measured = {name: truth[name] for name in _FIELDS}
    if not width:
        return measured, present
    extra = np.arange(width) < many[:, None]
    # A random true echo each, by rank of random scores; sets without any get no false one.
    rank = np.argsort(np.where(present, generator.random(present.shape), np.inf), axis=1)
    pick = generator.integers(0, np.maximum(present.sum(axis=1), 1)[:, None], extra.shape)
    model = np.take_along_axis(rank, pick, axis=1)
    zenith, length = (
        np.concatenate([np.asarray(getattr(end, name))[np.asarray(end.valid)] for end in ends])
        for name in ("departure_zenith", "length")
    )
    ranges = {
        "azimuth": (-np.pi, np.pi),
        "zenith": (zenith.min(), zenith.max()),
        "length": (2 * length.min(), 2 * length.max()),
    }
    for name in _FIELDS:
        added = np.take_along_axis(measured[name], model, axis=1)
        if not name.endswith(("_std", "power")):
            drawn = generator.uniform(*ranges[name.rpartition("_")[2]], size=extra.shape)
            unknown = np.isinf(np.take_along_axis(truth[f"{name}_std"], model, axis=1))
            added = np.where(unknown, 0.0, _in_range(name, drawn))
        measured[name] = np.concatenate([measured[name], added], axis=1)
    return measured, np.concatenate([present, extra], axis=1)


def _shuffle(
    measured: dict[str, np.ndarray],
    present: Bool[np.ndarray, "set echo"],
    generator: np.random.Generator,
) -> Paths:
    """Bring the echoes of each set into random order, cut to the longest set, zero the rest."""
    width = max(1, int(present.sum(axis=1).max(initial=0)))
    score = np.where(present, generator.random(present.shape), np.inf)
    order = np.argsort(score, axis=1)[:, :width]
    valid = np.take_along_axis(present, order, axis=1)
    fields = {
        name: np.where(valid, np.take_along_axis(values, order, axis=1), 0.0)
        for name, values in measured.items()
    }
    return Paths(valid=valid, **fields)
