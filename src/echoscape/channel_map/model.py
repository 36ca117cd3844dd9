"""What every model of a channel map has in common: a name, settings, and a fit.

A model is its settings: a frozen class whose fields are what the command line offers and what a
map's manifest keeps.  Its fit sees the reports of one station in an order that depends on what
they hold alone, so shuffled reports give the same map.

Takes `Reports`, and static points to start from where the model can use them.
Gives a `ChannelMap`.
"""

import abc
from typing import ClassVar

import jax
import numpy as np
import pydantic
from jaxtyping import PRNGKeyArray

from echoscape.channel_map.prior import ChannelMap
from echoscape.checks import InputError
from echoscape.progress import Progress
from echoscape.reports import Reports
from echoscape.scene import StaticPoints


class MapModel(pydantic.BaseModel, abc.ABC):
    """Settings of a kind of channel map, and how it is fitted."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: ClassVar[str]
    """Name in commands and manifests."""
    starts_from_points: ClassVar[bool] = False
    """Whether `fit` can start from static points."""

    @abc.abstractmethod
    def fit(
        self,
        reports: Reports,
        *,
        key: PRNGKeyArray,
        start: StaticPoints | None = None,
        progress: Progress | None = None,
    ) -> ChannelMap:
        """Fit a map to reports of one station.

        Args:
            reports: As `canonical_order` gives them.
            key: Random key.
            start: Static points to begin with.
            progress: Called as the fit goes on, where it takes long.
        """

    def refuse_start(self, start: StaticPoints | None) -> None:
        """Refuse static points that this model cannot start from."""
        if start is not None and not self.starts_from_points:
            raise InputError(
                f"the model {self.name!r} cannot start from static points; the models "
                "'virtual-anchors' and 'scatterers' can"
            )


def numpy_generator(key: PRNGKeyArray) -> np.random.Generator:
    """Seed numpy's random numbers from a key: ``jax.random.key(seed)`` as ``seed`` itself."""
    return np.random.default_rng(int(np.asarray(jax.random.key_data(key)).ravel()[-1]))
