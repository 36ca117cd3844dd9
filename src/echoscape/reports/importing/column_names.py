"""What the names of somebody else's columns may mean: a quantity and, where stated, its unit.

A name is cut into words: ``bs_heading``, ``headingBS`` and ``station.heading_deg`` say the same,
the last in degrees.  A name is only a claim; `columns_to_rows` tests it against the numbers.

Takes names.
Gives the `Meaning` that each claims.
"""

import dataclasses
import re
from collections.abc import Callable

from echoscape.checks import InputError, unknown_name

WORDS = {
    "station": (
        "station", "bs", "tx", "transmitter", "gnb", "base", "basestation", "cell", "ap", "ru",
        "txs", "sender",
    ),
    "user": ("user", "ue", "rx", "receiver", "mobile", "robot", "ms", "rxs", "terminal"),
    "position": (
        "position", "pos", "location", "loc", "place", "xy", "xyz", "coordinates", "coord",
        "pose", "positions", "locations",
    ),
    "heading": ("heading", "orientation", "yaw", "rotation", "boresight", "bearing"),
    "length": ("length", "distance", "range", "dist", "pathlength"),
    "delay": ("delay", "toa", "tof", "tau", "delays"),
    "departure": ("departure", "aod", "dod", "zod", "eod", "departing", "launch", "dep"),
    "arrival": ("arrival", "aoa", "doa", "zoa", "eoa", "arriving", "incoming", "arr"),
    "azimuth": ("azimuth", "az", "phi", "azi"),
    "elevation": ("elevation", "el", "elev", "ele", "eod", "eoa"),
    "zenith": (
        "zenith", "ze", "zen", "polar", "theta", "inclination", "incl", "zod", "zoa", "colatitude",
    ),
    "power": ("power", "gain", "pathgain", "strength", "level", "pwr", "signal"),
    "received": ("rss", "rssi", "rsrp", "received", "rcvd", "prx"),
    "transmitted": ("transmit", "transmitted", "radiated", "eirp", "erp", "ptx"),
    "loss": ("loss", "pathloss", "attenuation", "pl"),
    "amplitude": ("amplitude", "magnitude", "amp", "abs", "coefficient", "coef"),
    "time": ("time", "timestamp", "datetime", "date", "utc", "epoch"),
    "number": ("index", "number", "id", "idx", "no", "num", "name"),
    "pose": ("pose", "report", "snapshot", "point", "sample", "frame", "scan"),
    "path": (
        "ray", "rays", "mpc", "path", "cluster", "tap", "component", "multipath", "peak", "subpath",
    ),
}  # fmt: skip
"""Words and those that mean the same; documented in ``docs/formats.md``."""

_UNITS = {
    "deg": "deg", "degree": "deg", "degrees": "deg", "rad": "rad", "radian": "rad",
    "radians": "rad", "ns": "ns", "nsec": "ns", "nanoseconds": "ns", "us": "us", "usec": "us",
    "microseconds": "us", "ms": "ms", "ps": "ps", "sec": "s", "seconds": "s", "s": "s", "m": "m",
    "meter": "m", "meters": "m", "metre": "m", "metres": "m", "km": "km", "cm": "cm", "mm": "mm",
    "ft": "ft", "feet": "ft", "db": "db", "dbm": "dbm", "dbw": "dbw", "linear": "linear",
    "lin": "linear", "mw": "mw", "w": "w", "watt": "w", "watts": "w",
}  # fmt: skip
UNITS = {
    "angle": {"rad": 1.0, "deg": 0.017453292519943295},
    "delay": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12},
    "length": {"m": 1.0, "km": 1e3, "cm": 1e-2, "mm": 1e-3, "ft": 0.3048},
    "power": {"db": 1.0, "dbm": 1.0, "dbw": 1.0, "linear": 1.0, "mw": 1.0, "w": 1.0},
}
"""Units of each kind of quantity, and what makes SI of them; powers have rules of their own."""

QUANTITIES = {
    **{f"{end}_{axis}": "length" for end in ("station", "user") for axis in "xyz"},
    **{f"{end}_position": "length" for end in ("station", "user")},
    **{f"{end}_{name}": "" for end in ("station", "user") for name in ("latitude", "longitude")},
    "station_heading": "angle", "user_heading": "angle",
    **{
        f"{end}_{name}": "angle"
        for end in ("departure", "arrival") for name in ("azimuth", "zenith", "elevation")
    },
    "delay": "delay", "excess_delay": "delay", "length": "length",
    "power": "power", "path_loss": "power", "received_power": "power", "amplitude": "power",
    "amplitude_real": "power", "amplitude_imaginary": "power", "transmit_power": "power",
    "snr": "power", "time": "delay", "pose": "", "user": "", "station": "", "path": "",
    "path_count": "", "number": "", "ignore": "",
}  # fmt: skip
"""What a column may be stated to mean, and the kind of its unit."""

_PHRASES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(time|angle|direction) of (arrival|departure|flight)", lambda m: {
        ("time", "arrival"): "toa", ("time", "flight"): "tof", ("angle", "arrival"): "aoa",
        ("angle", "departure"): "aod", ("direction", "arrival"): "doa",
        ("direction", "departure"): "dod", ("time", "departure"): "tod",
    }.get((m[1], m[2]), m[0])),
    (r"(propagation|travel|flight|arrival) (time|delay)", lambda m: "delay"),
    (r"path loss", lambda m: "pathloss"),
    (r"path (gain|power)", lambda m: "gain"),
    (r"(path|ray|travel|propagation) (length|distance)", lambda m: "pathlength"),
    (r"base station", lambda m: "station"),
    (r"time stamp", lambda m: "timestamp"),
)  # fmt: skip
_COMPOUND = re.compile(r"(ao|do|to|zo|eo)[adf](?![^\W\d_])", re.IGNORECASE)
_NODE = re.compile(r"[ge]NB(?![^\W\d_A-Z])")
_GLUED = re.compile(
    r"(?<![^\W\d_])([aze](?=ao[ad])"  # AAoD, ZAoA, as 3GPP has them
    r"|(?:tx|rx|bs|ue|ap|gnb)(?=[xyz\d](?![^\W\d_]))"  # txx, ue1_x
    r"|[xyz](?=[tr](?![^\W_])))",  # xt, yr
    re.IGNORECASE,
)
_COMPASS = {"e": "east", "n": "north", "u": "height"}
_LETTERS = {"a": "azimuth", "z": "zenith", "e": "elevation", "t": "tx", "r": "rx"}
"""What single letters stand for beside an angle of arrival or departure, or a coordinate."""
_OTHER_POINTS = {
    "bounce", "interaction", "velocity", "vel", "speed", "scatterer", "reflection", "first",
    "last", "hit", "vertex", "std", "sigma", "error", "cov", "inter", "vx", "vy", "vz", "array",
    "spread", "rms", "mean", "acceleration", "roll", "pitch",
}  # fmt: skip
_INFORMATION = {
    "los", "nlos", "state", "type", "interactions", "order", "bounces", "phase", "doppler",
    "frequency", "freq", "polarization", "polarisation", "comment", "note", "scenario", "env",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a column means, by its name or as stated."""

    quantity: str
    """One of `QUANTITIES`."""
    unit: str = ""
    """Its unit where stated."""
    stated: bool = False
    """Whether the user said so, which is not doubted."""
    doubtful: bool = False
    """Whether the name says it by a word that may mean something else."""
    pose: bool = False
    """Whether a position may hold a heading too."""


def words_of(name: str) -> list[str]:
    """Cut a name into lower-case words."""
    name = _NODE.sub(lambda found: found[0].lower(), _GLUED.sub(r"\1_", name))
    name = _COMPOUND.sub(lambda found: f"_{found[0].lower()}_", name.replace("°", "_deg"))
    for unit in ("dBm", "dBW", "dB", "mW"):
        name = name.replace(unit, f"_{unit.lower()}")
    name = re.sub(r"(?<=[0-9a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])", "_", name)
    text = " ".join(word for word in re.split(r"[^0-9a-z]+", name.lower()) if word)
    for pattern, replace in _PHRASES:
        text = re.sub(rf"\b{pattern}\b", replace, text)
    words = text.split()
    if len(words) > 1 and (words[0] in ("a", "z", "e") and words[1] in ("aoa", "aod")):
        words[0] = _LETTERS[words[0]]
    if len(words) > 1 and words[0] in ("x", "y", "z") and words[1] in ("t", "r"):
        words[1] = _LETTERS[words[1]]
    if len(words) == 2 and words[1] in _COMPASS and words[0] in (*WORDS["station"], *WORDS["user"]):
        words[1] = _COMPASS[words[1]]
    return words


def state_meaning(text: str) -> Meaning:
    """Read what a user stated of a column: ``QUANTITY`` or ``QUANTITY:UNIT``."""
    quantity, _, unit = text.strip().partition(":")
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    unit = _UNITS.get(unit.strip().lower(), unit.strip().lower())
    known = UNITS.get(QUANTITIES[quantity], {})
    if unit and unit not in known:
        raise unknown_name(f"unit of {quantity}", unit, known or ("none",))
    return Meaning(quantity, unit, stated=True)


def meaning(name: str) -> Meaning | None:
    """Tell what a name claims to mean; None if no word of it is known."""
    words = words_of(name)
    if not words:
        return None
    units = [_UNITS[word] for word in words[1:] if word in _UNITS]

    def has(kind: str) -> bool:
        return any(word in WORDS[kind] for word in words)

    def unit(kind: str) -> str:
        return next((each for each in reversed(units) if each in UNITS[kind]), "")

    rest = [word for word in words if word not in _UNITS or word == words[0]]
    end = "station" if has("station") else "user" if has("user") else None
    if _OTHER_POINTS & set(words) or (_INFORMATION & set(words) and not has("departure")):
        return None
    angle = _angle(words, has, unit("angle"))
    if angle is not None:
        return angle
    if has("heading"):
        return Meaning(f"{end}_heading", unit("angle")) if end else None
    place = _place(words, rest, has, end, unit("length"))
    if place is not None:
        return place
    return _scalar(words, rest, has, end, unit)


def _angle(words: list[str], has, unit: str) -> Meaning | None:
    """Recognise a direction at one end."""
    end = "departure" if has("departure") else "arrival" if has("arrival") else None
    part = "zenith" if has("zenith") else "elevation" if has("elevation") else None
    if end is None and (part or has("azimuth")):  # phi_t, theta_r, tx_azimuth
        sides = {"departure": {"t", "tx", "bs"}, "arrival": {"r", "rx", "ue"}}
        end = next((side for side, marks in sides.items() if marks & set(words)), None)
    if end is None:
        return None
    return Meaning(f"{end}_{part or 'azimuth'}", unit)


def _place(words: list[str], rest: list[str], has, end: str | None, unit: str) -> Meaning | None:
    """Recognise a position or one of its coordinates."""
    for name, marks in (("latitude", {"lat", "latitude"}), ("longitude", {"lon", "lng", "long",
                        "longitude"})):  # fmt: skip
        if marks & set(words):
            return Meaning(f"{end or 'user'}_{name}")
    axes = {"x": "x", "y": "y", "z": "z", "east": "x", "easting": "x", "north": "y",
            "northing": "y", "alt": "z", "altitude": "z", "height": "z"}  # fmt: skip
    axis = next((axes[word] for word in words if word in axes), None)
    if axis is not None:
        return Meaning(f"{end or 'user'}_{axis}", unit)
    if has("position") and not has("path") and not any(w in WORDS["number"] for w in words):
        if end is None and rest == ["pose"]:
            return Meaning("pose", pose=True)
        return Meaning(f"{end or 'user'}_position", unit, pose="pose" in words)
    return None


def _scalar(words: list[str], rest: list[str], has, end: str | None, unit) -> Meaning | None:
    """Recognise lengths, delays, powers, times and numbers."""
    relative = {"excess", "relative", "additional"} & set(words)
    if has("delay"):
        return Meaning("delay", unit("delay"), doubtful=bool(relative))
    if has("loss"):
        return Meaning("path_loss", unit("power"))
    if "snr" in words:
        return Meaning("snr", unit("power"))
    real, imaginary = {"re", "real", "r"}, {"im", "imag", "imaginary", "i"}
    complex_gain = has("power") and bool((real | imaginary) & set(words))
    if has("amplitude") or complex_gain or (words[0] in ("a", "h") and len(rest) <= 2):
        for quantity, marks in (("real", real), ("imaginary", imaginary)):
            if marks & set(words):
                return Meaning(f"amplitude_{quantity}")
        if has("amplitude") or len(rest) == 1:
            return Meaning("amplitude", unit("power"))
    power = _power(words, has, end, unit("power"))
    if power is not None:
        return power
    if has("length"):
        return Meaning("length", unit("length"), doubtful="pathlength" not in words)
    if has("time") or words == ["t"]:
        return Meaning("time", unit("delay"))
    numbered = has("number") or {"n", "num"} & set(words)
    if has("path"):
        if {"n", "num", "count"} & set(words):
            return Meaning("path_count")
        return Meaning("path") if numbered or len(rest) == 1 else None
    if has("pose"):
        return Meaning("pose")
    if end == "station" and (numbered or len(rest) == 1):
        return Meaning("station")
    if end == "user" and (numbered or len(rest) == 1):
        return Meaning("user")
    return Meaning("number", doubtful=True) if numbered and len(rest) == 1 else None


def _power(words: list[str], has, end: str | None, unit: str) -> Meaning | None:
    """Recognise powers, sent or received, and gains; P stands for one where a unit says so."""
    if not (has("power") or has("received") or has("transmitted") or (words[0] == "p" and unit)):
        return None
    if "gain" in words and (end or "antenna" in words):
        return None  # of an antenna
    if has("transmitted") or end == "station":
        return Meaning("transmit_power", unit)
    if has("received") or end == "user":
        return Meaning("received_power", unit or "dbm")
    relative = {"relative", "normalized", "normalised", "norm", "rel"} & set(words)
    absolute = unit in ("dbm", "dbw", "mw", "w")
    return Meaning("received_power" if absolute else "power", unit, doubtful=bool(relative))


def parse_statements(statements: "tuple[str, ...] | list[str]") -> dict[str, Meaning]:
    """Read ``COLUMN=QUANTITY[:UNIT]`` statements."""
    found = {}
    for text in statements:
        name, mark, stated = text.rpartition("=")
        if not mark or not name.strip():
            raise InputError(
                f"--column needs COLUMN=QUANTITY or COLUMN=QUANTITY:UNIT, such as "
                f"aod_el=departure_zenith:deg; got {text!r}"
            )
        found[name.strip()] = state_meaning(stated)
    return found
