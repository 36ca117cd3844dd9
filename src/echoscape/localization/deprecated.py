"""Names of the previous version, kept for one more: each warns and calls what replaces it.

Takes the arguments of the previous version.
Gives what `localize` and `prepare` give.
"""

import dataclasses
import warnings
from typing import Any, TypeVar

from echoscape.localization.associated.by_path import AssociatedByPath
from echoscape.localization.associated.by_rank import AssociatedByRank
from echoscape.localization.localize import localize
from echoscape.localization.localizer import Localizer
from echoscape.localization.unassociated.method import Unassociated

_FIELDS = {"level": "height_step", "vague_above": "ambiguous_above", "kept": "refined"}
_RANKS = {"certain": "hard", "doubted": "soft", "ignored": "none"}


_Method = TypeVar("_Method", bound=Localizer)


def _settings(method: type[_Method], **fields: Any) -> _Method:
    return method(**{_FIELDS.get(name, name): value for name, value in fields.items()})


def _search_settings(**fields: Any) -> Unassociated:
    return _settings(Unassociated, **fields)


def _paired_settings(**fields: Any) -> AssociatedByRank:
    return _settings(AssociatedByRank, **fields)


def _one_way_settings(**fields: Any) -> AssociatedByPath:
    return _settings(AssociatedByPath, **fields)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A map and how to search it, queried where the echoes come."""

    channel_map: Any
    method: Localizer
    height: Any
    errors: dict[str, float]

    def locate(self, echoes, method: Localizer, **errors: float):
        """Locate with the errors stated beside the echoes."""
        stated = dataclasses.replace(echoes, **(self.errors | errors))
        return localize(stated, self.channel_map, method=method, height=self.height)


def _prepare_paired(
    channel_map, *, paths, angle_std, delay_std, zenith=False, height=None, settings=None
):
    del paths, zenith
    errors = {"angle_std": angle_std, "delay_std": delay_std}
    return _Prepared(channel_map, settings or AssociatedByRank(), height, errors)


def _localize_paired(echoes, search: _Prepared, *, pairs="all"):
    return search.locate(echoes, search.method.model_copy(update={"pairs": pairs}))


def _prepare_one_way(channel_map, *, paths, height=None, settings=None):
    del paths
    return _Prepared(channel_map, settings or AssociatedByPath(), height, {})


def _localize_one_way(
    echoes, search: _Prepared, *, angle_std, delay_std, ranks="doubted", pairs="all"
):
    update = {"rank_association": _RANKS.get(ranks, ranks), "pairs": pairs}
    method = search.method.model_copy(update=update)
    return search.locate(echoes, method, angle_std=angle_std, delay_std=delay_std)


NAMES: dict[str, tuple[Any, str]] = {
    "SearchSettings": (_search_settings, "Unassociated(...)"),
    "PairedSettings": (_paired_settings, "AssociatedByRank(...)"),
    "OneWaySettings": (_one_way_settings, "AssociatedByPath(...)"),
    "prepare_paired": (_prepare_paired, "prepare(maps, echoes, method=AssociatedByRank())"),
    "localize_paired": (_localize_paired, "localize(echoes, maps, method=AssociatedByRank())"),
    "prepare_one_way": (_prepare_one_way, "prepare(maps, echoes, method=AssociatedByPath())"),
    "localize_one_way": (_localize_one_way, "localize(echoes, maps, method=AssociatedByPath())"),
}
"""Each with what replaces it."""


def find(name: str) -> Any:
    """Look a deprecated name up and warn."""
    found, use = NAMES[name]
    warnings.warn(
        f"echoscape.localization.{name} is deprecated and goes in the next version; use {use}",
        DeprecationWarning,
        stacklevel=3,
    )
    return found
