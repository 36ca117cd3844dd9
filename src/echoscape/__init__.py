"""Echoscape: multipath is knowledge of the environment, learnt once and used twice.

Users' reports (where they were, which paths they had) train a *channel map*: place to angles and
delays of paths.  The same map locates targets that the base station cannot see, because the echo
of a target runs along pairs of those very paths, and tells which beam serves a user at a place.
Users' pilots become a *voxel image* of what scatters them, in spite of what hides what; and paths
observed over time become *tracks* of static images of the station, which also tell where the user
went and drive a channel model.

    scene -> propagation -> signals -> estimation -> reports -> channel_map -> localization
                                 pilots of many users -> imaging
                                   paths over time -> tracking -> channel_model

The names below are those that a first script needs; they are imported when they are first used.
Importing this package configures nothing; for coordinates beyond some kilometres use double
precision (``jax.config.update("jax_enable_x64", True)``), as the command line does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from echoscape.channel_map import (
        ChannelMap,
        Extrapolated,
        NearestReports,
        Network,
        Scatterers,
        VirtualAnchors,
        fit_map,
        load_maps,
        save_maps,
    )
    from echoscape.imaging import image, read_snapshots
    from echoscape.localization import Fix, FixStatus, localize
    from echoscape.localization.scores import score
    from echoscape.propagation import Paths
    from echoscape.reports import (
        Echoes,
        Observations,
        Reports,
        read_echoes,
        read_observations,
        read_reports,
        write_echoes,
        write_fixes,
        write_observations,
        write_reports,
    )
    from echoscape.reports.echo_making import make_echoes
    from echoscape.sample import load_sample
    from echoscape.scene import Site, StaticPoints
    from echoscape.tracking import track

__all__ = [
    "ChannelMap",
    "Echoes",
    "Extrapolated",
    "Fix",
    "FixStatus",
    "NearestReports",
    "Network",
    "Observations",
    "Paths",
    "Reports",
    "Scatterers",
    "Site",
    "StaticPoints",
    "VirtualAnchors",
    "fit_map",
    "image",
    "load_maps",
    "load_sample",
    "localize",
    "make_echoes",
    "read_echoes",
    "read_observations",
    "read_reports",
    "read_snapshots",
    "save_maps",
    "score",
    "track",
    "write_echoes",
    "write_fixes",
    "write_observations",
    "write_reports",
]

_HOMES = {
    "channel_map": (
        "ChannelMap", "Extrapolated", "NearestReports", "Network", "Scatterers", "VirtualAnchors",
        "fit_map", "load_maps", "save_maps",
    ),
    "imaging": ("image", "read_snapshots"),
    "localization": ("Fix", "FixStatus", "localize"),
    "localization.scores": ("score",),
    "propagation": ("Paths",),
    "reports": (
        "Echoes", "Observations", "Reports", "read_echoes", "read_observations", "read_reports",
        "write_echoes", "write_fixes", "write_observations", "write_reports",
    ),
    "reports.echo_making": ("make_echoes",),
    "sample": ("load_sample",),
    "scene": ("Site", "StaticPoints"),
    "tracking": ("track",),
}  # fmt: skip
_STAGES = (
    "channel_map", "channel_model", "communication", "estimation", "imaging", "localization",
    "numerics", "plotting", "propagation", "reports", "sample", "scene", "signals", "store",
    "studies", "tracking",
)  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":  # of what is installed; tools/version.py makes it of the tag
        from importlib.metadata import version

        return version("echoscape")
    if name in _STAGES:
        return importlib.import_module(f"echoscape.{name}")
    if name in ("fit_anchors", "fit_nearest", "fit_network"):  # of version 0.1
        return getattr(importlib.import_module("echoscape.channel_map"), name)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'echoscape' has no attribute {name!r}")
    return getattr(importlib.import_module(f"echoscape.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_STAGES, "__version__"])
