"""The service: a store that answers over HTTP, with workers that compute.

Takes a `Store`.
Gives an application for an ASGI server; needs the extra ``service``.
"""

# ruff: noqa: E402
from echoscape.extras import need as _need

_need("service", "serving")

from echoscape.service.application import make_application
from echoscape.service.guard import Limits
from echoscape.service.sample_walk import SampleWalk
from echoscape.service.upkeep import Upkeep

__all__ = ["Limits", "SampleWalk", "Upkeep", "make_application"]


def __dir__() -> list[str]:
    return sorted(__all__)
