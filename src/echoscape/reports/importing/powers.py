"""Powers of any source as gains: received over transmitted.

Takes columns that claim a gain, a loss, a received power or an amplitude.
Gives linear gains, or one sentence about what is missing.
"""

import numpy as np

from echoscape.checks import InputError

_MOST_GAIN = 40.0
"""No link with its antennas gains more; what does is a loss or a received power [dB]."""
_KINDS = (
    "power", "path_loss", "amplitude_real", "amplitude", "received_power", "snr",
)  # fmt: skip


def power_of(columns, present: np.ndarray) -> np.ndarray:
    """Take the power of each path from the first kind that a source has."""
    stated = [k for k in _KINDS if any(columns.claims[n].stated for n in columns.named(k))]
    kinds = stated or [kind for kind in _KINDS if columns.named(kind)]
    if not kinds:
        columns.note(
            "power",
            "none found, so the order of strength is lost; if a column holds it, state it by "
            "--column NAME=power:db",
            doubt=True,
        )
        return np.ones(columns.rows)
    kind = kinds[0]
    if kind == "amplitude_real":
        real, imaginary = columns.one("amplitude_real"), columns.one("amplitude_imaginary")
        if imaginary is None:
            raise InputError(
                f"{columns.source} has a real part {real!r} and no imaginary part; name it like "
                f"{real!r}, or leave both out by --column '{real}=ignore'"
            )
        columns.note("power", f"{real} and {imaginary}: squared magnitude")
        return columns.numbers(real) ** 2 + columns.numbers(imaginary) ** 2
    name = columns.one(kind)
    claim, values = columns.claims[name], columns.numbers(name)
    use = present & np.isfinite(values)
    decibels = {
        "power": _gain, "path_loss": _loss, "amplitude": _amplitude, "received_power": _received,
        "snr": _snr,
    }[kind](columns, name, claim, values, use)  # fmt: skip
    decibels = np.where(use, decibels, -400.0)
    worst = np.abs(decibels[use]).max(initial=0.0)
    if worst > 400:
        raise InputError(
            f"{columns.source}: column {name!r} has a power of "
            f"{decibels[use][np.argmax(np.abs(decibels[use]))]:.4g} dB, which is none; state what "
            f"it is by --column '{name}=power:db'"
        )
    if decibels[use].max(initial=-400.0) > _MOST_GAIN:
        raise InputError(
            f"{columns.source}: column {name!r} says that {decibels[use].max():.4g} dB more are "
            f"received than were sent; if it is a loss, state it by --column '{name}=path_loss:db'"
            f"; if a received power, by --column '{name}=received_power:dbm' and --transmit-power"
        )
    return 10 ** (decibels / 10)


def _to_db(values: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(values, 1e-40))


def _gain(columns, name, claim, values, use):
    unit = claim.unit
    if unit in ("dbm", "dbw", "mw", "w"):
        return _received(columns, name, claim, values, use)
    if not unit:
        inside = (values[use] >= 0) & (values[use] <= 1)
        unit = "linear" if inside.all() and (values[use] > 0).any() else "db"
    relative = claim.doubtful and not claim.stated
    columns.note(
        "power",
        f"{name} [{unit}], a gain"
        + (
            f"; by its name it is relative to something, which makes every loss wrong alike: if it "
            f"is absolute, state it by --column '{name}=power:{unit}'"
            if relative
            else ""
        ),
        doubt=relative,
    )
    return values if unit == "db" else _to_db(values)


def _loss(columns, name, claim, values, use):
    if claim.unit == "linear":
        columns.note("power", f"{name} [linear], a loss")
        return -_to_db(values)
    negative = bool(len(values[use])) and np.median(values[use]) < 0 and not claim.stated
    columns.note("power", f"{name} [dB], a {'loss written as a gain' if negative else 'loss'}")
    return values if negative else -values


def _amplitude(columns, name, claim, values, use):
    columns.note("power", f"{name}, an amplitude: squared")
    return values if claim.unit == "db" else 2 * _to_db(np.abs(values))


def _received(columns, name, claim, values, use):
    sent, unit = columns.choices.transmit_power, claim.unit or "dbm"
    source = f"{sent:g} dBm stated" if sent is not None else ""
    column = columns.one("transmit_power")
    if sent is None and column is not None:
        sent = columns.numbers(column)
        known = columns.claims[column].unit or "dbm"
        shift = {"dbm": 0.0, "db": 0.0, "dbw": 30.0}.get(known)
        if shift is None:
            sent = _to_db(sent) + (30.0 if known in ("w", "linear") else 0.0)
        else:
            sent = sent + shift
        source = f"column {column}"
    if sent is None:
        raise InputError(
            f"{columns.source}: {name!r} is a received power, and a gain is needed: give what was "
            f"transmitted by --transmit-power DBM, or state that it is a gain by --column "
            f"'{name}=power:db'"
        )
    received = {
        "dbm": lambda: values, "db": lambda: values, "dbw": lambda: values + 30.0,
        "mw": lambda: _to_db(values), "w": lambda: _to_db(values) + 30.0,
        "linear": lambda: _to_db(values) + 30.0,
    }[unit]()  # fmt: skip
    columns.note("power", f"{name} [{unit}], received; transmitted: {source}")
    return received - sent


def _snr(columns, name, claim, values, use):
    raise InputError(
        f"{columns.source}: {name!r} is a ratio to the noise, not a gain; use it for the order of "
        f"strength by --column '{name}=power:db', or leave it out by --column '{name}=ignore'"
    )
