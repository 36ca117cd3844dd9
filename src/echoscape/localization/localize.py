"""Where targets or users are, by any method: the one verb of localization.

Takes measurements (echoes, paired echoes, samples of echoes, a user's paths or received powers)
and the channel maps of the stations that made them.
Gives a `Fix`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.received_power import SignalStrengthMap
from echoscape.checks import InputError
from echoscape.localization.associated.by_path import AssociatedByPath
from echoscape.localization.associated.by_rank import AssociatedByRank
from echoscape.localization.direct.method import Direct
from echoscape.localization.fix import Fix
from echoscape.localization.localizer import Height, Localizer, run
from echoscape.localization.unassociated.method import Unassociated
from echoscape.localization.user.by_received_power import ReceivedPower
from echoscape.localization.user.positioning import UserPaths
from echoscape.progress import Progress

METHODS: tuple[type[Localizer], ...] = (
    Unassociated,
    AssociatedByPath,
    AssociatedByRank,
    Direct,
    UserPaths,
    ReceivedPower,
)
"""Every method; of those that can use some measurements the first is the default."""


class PreparedMaps(NamedTuple):
    """Maps queried on a grid, for many calls of `localize` with measurements of one layout."""

    method: Localizer
    """The method that they were prepared for."""
    grid: Any
    """What it prepared."""


Maps = ChannelMap | SignalStrengthMap | Mapping[str, ChannelMap] | PreparedMaps
"""The map, one for each station by name, or what `prepare` made of them."""


def prepare(
    maps: Maps,
    measurements: Any,
    *,
    method: Localizer | None = None,
    height: Height = None,
) -> PreparedMaps:
    """Query maps on a method's grid, once for several calls of `localize`.

    Args:
        maps: The map, or one for each station by name.
        measurements: Some of those to locate; their layout counts, not their values.
        method: As for `localize`.
        height: As for `localize`.
    """
    method = _method(measurements, method)
    if isinstance(maps, PreparedMaps):
        raise InputError("these maps are prepared already; give them to localize as they are")
    return PreparedMaps(method, method.prepare(_by_station(maps), height, measurements))


def localize(
    measurements: Any,
    maps: Maps,
    *,
    method: Localizer | None = None,
    height: Height = None,
    progress: Progress | None = None,
) -> Fix:
    """Locate targets, or users, from what was measured of them.

    Args:
        measurements: `Echoes` of unknown association; `PairedEchoes`; `EchoSnapshots` of one pair
            of stations or a list of several; `PathEstimates` or `Reports` of users; or received
            powers [dB], a row a reading and a column a transmitter.
        maps: The map, one for each station by name, or what `prepare` made of them.
        method: How to locate; by default the first of `METHODS` that can use the measurements.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        progress: Called with the targets done, all targets, and the name of the stage.

    Raises:
        InputError: The method cannot use the measurements, a station has no map, or a value makes
            no sense.
    """
    if isinstance(maps, PreparedMaps):
        if method not in (None, maps.method) or height is not None:
            raise InputError(
                "prepared maps hold their method and height already; prepare them anew to change "
                "either"
            )
        method = _method(measurements, maps.method)
        prepared = maps.grid
    else:
        method = _method(measurements, method)
        if progress is not None:
            progress(0, 1, "preparing the maps, compiling")
        prepared = method.prepare(_by_station(maps), height, measurements)
    return run(method, method.batch(prepared, measurements), progress)


def default_method(measurements: Any) -> Localizer:
    """Choose the method that the type of the measurements asks for."""
    for method in METHODS:
        if can_use(method, measurements):
            return method()
    kind = type(measurements).__name__
    raise InputError(
        f"no method can locate from {kind}; give "
        + "; or ".join(dict.fromkeys(method.needs for method in METHODS))
    )


def can_use(method: type[Localizer], measurements: Any) -> bool:
    """Tell whether a method takes measurements of this type."""
    several = isinstance(measurements, Sequence) and not isinstance(measurements, str | bytes)
    if several and len(measurements):
        return method is Direct and all(isinstance(m, Direct.measurements) for m in measurements)
    return isinstance(measurements, method.measurements)


def _method(measurements: Any, method: Any) -> Localizer:
    """Check that a method can use measurements, or choose one that can."""
    if method is None:
        return default_method(measurements)
    if not isinstance(method, Localizer):
        raise InputError(
            f"method must be a localization method such as {METHODS[0].__name__}(); got {method!r}"
        )
    if not can_use(type(method), measurements):
        able = [each.__name__ for each in METHODS if can_use(each, measurements)]
        use = f"; {' or '.join(able)} can" if able else ""
        raise InputError(
            f"{type(method).__name__} needs {method.needs} and cannot use "
            f"{type(measurements).__name__}{use}"
        )
    return method


def _by_station(
    maps: ChannelMap | SignalStrengthMap | Mapping[str, ChannelMap],
) -> Mapping[str, Any]:
    if isinstance(maps, ChannelMap):
        return {maps.station: maps}
    if isinstance(maps, SignalStrengthMap):
        return {"": maps}
    return dict(maps)
