"""The geometric map: static points that explain every path, and where each is heard.

A wall sequence turns the user's place by a fixed rotation or reflection (its virtual anchor); a
point scatterer lies still.  Found from the reports alone (`anchor_search`), both predict a path
anywhere, exactly; a path that follows neither keeps its unfolded point, less certain the farther
the user moves.  A logistic model says which are heard at a place (`presence`).

Takes `Reports`.
Gives an `VirtualAnchorMap`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.channel_map.storage import storable
from echoscape.channel_map.virtual_anchors.search import (
    Anchor,
    description_length,
    find_anchors,
    misfit,
    rotation,
)
from echoscape.channel_map.virtual_anchors.table import AnchorSet, shines_from, tabulate
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths, unfold
from echoscape.channel_map.visibility import learn_presence, presence_raster
from echoscape.estimation import AnyArray
from echoscape.reports import Reports

_SHORTER = 0.1  # nat a path that a larger model error must save
_SCATTERED = 0.25  # share of the paths by way of scatterers, for their sway to be asked about


class VirtualAnchorSettings(pydantic.BaseModel):
    """How anchors are searched and presence is predicted."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    least_followers: int = pydantic.Field(default=3, ge=3)
    """Fewest paths that make an anchor."""
    model_errors: tuple[float, ...] = pydantic.Field(default=(0.1, 0.3, 1.0, 3.0), min_length=1)
    """Standard deviations tried for what reports do not state, smallest first [m]."""
    enough_explained: float = pydantic.Field(default=0.6, gt=0, lt=1)
    """Share of the paths that anchors must explain before a larger error is not tried."""
    listed: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver lists: presence is the probability of being among them."""
    neighbours: int = pydantic.Field(default=32, ge=1)
    """Reports that presence at a place is predicted from."""
    slots: int = pydantic.Field(default=40, ge=1)
    """Most paths predicted at a place."""
    cell: float = pydantic.Field(default=2.0, gt=0)
    """Side of the presence raster's cells [m]."""
    margin: float = pydantic.Field(default=25.0, ge=0)
    """How far the raster reaches beyond the reports [m]."""


class LocalVirtualAnchors(eqx.Module):
    """The anchors heard near a place, their identities held fixed."""

    anchors: AnchorSet
    """One anchor per slot."""
    probability: Float[Array, " anchor"]
    """Their presence."""
    station_position: Float[Array, "3"]
    """Where the base station is [m]."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at a position nearby [m]."""
        predict = jax.vmap(_predict, in_axes=(0, None))
        azimuth, zenith, length, covariance = predict(
            self.anchors, position - self.station_position
        )
        return PathPrior(
            probability=self.probability,
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            length=length,
            covariance=covariance,
            power=jnp.exp(self.anchors.log_gain) / jnp.maximum(length, 1e-3) ** 2,
            log_power_std=self.anchors.log_gain_std,
        )


def _predict(anchor: AnchorSet, place: Float[Array, "3"]):
    """Predict one path at one place relative to the station."""
    lever = place[:2] - anchor.centre
    # Scatterer: the ray points at it, its length is the two legs.
    leg = place[:2] - anchor.offset
    reach, rest = (jnp.sqrt(jnp.sum(side**2) + 1e-9) for side in (anchor.offset, leg))
    scattered = anchor.offset / reach * (reach + rest)
    mirrored = anchor.matrix @ place[:2] + anchor.offset
    point = jnp.where(anchor.scatters > 0, scattered, mirrored)
    height = anchor.height_sign * place[2] + anchor.height_offset
    squared = jnp.sum(point**2) + 1e-9
    level = jnp.sqrt(squared)
    length = jnp.sqrt(squared + height**2)
    out = point / level
    turned = anchor.matrix @ jnp.stack([-lever[1], lever[0]])
    isotropic = anchor.variance + anchor.stretch_variance * jnp.sum(lever**2)
    along = isotropic + anchor.turn_variance * jnp.sum(turned * out) ** 2
    aside = turned[1] * out[0] - turned[0] * out[1]
    across = isotropic + anchor.turn_variance * aside**2
    zenith = anchor.variance / length**2
    deviation = jnp.diag(jnp.stack([across / squared, zenith, along]))
    swayed = _sway(anchor.variance, anchor.offset / reach, reach, leg / rest, rest, zenith)
    covariance = jnp.where(anchor.scatters > 0, swayed, deviation)
    azimuth = jnp.arctan2(point[1], point[0])
    return azimuth, jnp.arctan2(level, height), length, covariance


def _sway(variance, out, reach, back, rest, zenith):
    """Give the covariance of azimuth, zenith and length where a scatterer's place is uncertain.

    To first order the length changes by ``(out - back) . sway``; what is left of it between station
    and user, where that is nothing, is its second order, ``tr((H S)^2) / 2``.
    """
    left = jnp.stack([-out[1], out[0]])
    azimuth, length = left / reach, out - back
    near, far = (jnp.sqrt(side**2 + 2.0 * variance) for side in (reach, rest))
    bend = 0.5 * variance**2 * (near**-2 + far**-2 + 2.0 * (out @ back) ** 2 / (near * far))
    both = variance * (azimuth @ length)
    zero = jnp.zeros_like(both)
    return jnp.stack([
        jnp.stack([variance * (azimuth @ azimuth), zero, both]),
        jnp.stack([zero, zenith, zero]),
        jnp.stack([both, zero, variance * (length @ length) + bend]),
    ])  # fmt: skip


@storable("anchors")
class VirtualAnchorMap(ChannelMap):
    """Anchors of one station and the raster of their presence."""

    anchors: AnchorSet
    """All anchors."""
    slot: Int[AnyArray, "east north slot"]
    """Anchors most probably heard in each cell."""
    probability: Float[AnyArray, "east north slot"]
    """Their presence."""
    corner: Float[AnyArray, "2"]
    """Centre of the first cell, from the station [m]."""
    report_position: Float[AnyArray, "report 3"]
    """Where the users were [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    step: float = eqx.field(static=True)
    """Side of a cell [m]."""

    def around(self, position: Float[Array, "3"]) -> LocalVirtualAnchors:
        """Pick the anchors of the cell that a position [m] is in."""
        dtype = position.dtype
        station = jnp.asarray(self.station_position, dtype)
        cell = jnp.round((position - station)[:2] / self.step - self.corner / self.step)
        shape = self.slot.shape
        east = jnp.clip(cell[0], 0, shape[0] - 1).astype(int)
        north = jnp.clip(cell[1], 0, shape[1] - 1).astype(int)
        slot = jnp.asarray(self.slot)[east, north]
        picked = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype)[slot], self.anchors)
        return LocalVirtualAnchors(
            picked, jnp.asarray(self.probability, dtype)[east, north], station
        )  # fmt: skip

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        return self.around(position)(position)


def fit_virtual_anchors(
    reports: Reports,
    *,
    station: str | None = None,
    settings: VirtualAnchorSettings | None = None,
    seed: int = 0,
) -> VirtualAnchorMap:
    """Reconstruct anchors and their presence from reports.

    Args:
        reports: Reports of one or several stations.
        station: Which station; may be left out if there is only one.
        settings: How to search.
        seed: Seed of the search.
    """
    settings = settings or VirtualAnchorSettings()
    reports = reports_of_station(reports, station)
    origin = reports.station_position[0]
    place = np.asarray(reports.position - origin, dtype=float)
    paths, anchors, free = _search(reports, place, settings, seed)
    if np.median(reports.position_std) > 0 and anchors:
        # Anchors place the users better than they were reported: search again from there.
        place = _relocate(reports, place, paths, anchors)
        better = eqx.tree_at(lambda r: r.position_std, reports, 0.2 * reports.position_std)
        paths, anchors, free = _search(better, place, settings, seed)
    wrong = _wrong_reports(paths, free, len(place))
    table, rank = tabulate(paths, anchors, free & ~wrong[paths.report], len(place))
    trusted = ~wrong
    heard = place[trusted, :2], rank[trusted], shines_from(table)
    model = learn_presence(*heard, settings.listed, settings.neighbours)
    raster = presence_raster(
        model,
        *heard,
        step=settings.cell,
        margin=settings.margin,
        slots=settings.slots,
        neighbours=settings.neighbours,
    )
    return VirtualAnchorMap(
        anchors=table,
        slot=raster.slot,
        probability=np.clip(raster.probability, 0.0, 0.98),
        corner=raster.corner,
        report_position=np.asarray(reports.position, dtype=float)[trusted],
        station_position=origin,
        station=reports.station[0],
        step=raster.step,
    )


def _search(reports, place, settings, seed):
    """Search with the smallest model error that explains enough, or with larger ones that say
    the same much shorter: where scatterers sway by more, each falls apart into many.
    """
    found, shortest = [], None
    for error in settings.model_errors:
        paths = unfold(reports, place, error)
        anchors, free = find_anchors(paths, np.random.default_rng(seed), settings.least_followers)
        # A larger error explains more of anything: it must be worth a tenth of the paths.
        found.append((1.0 - free.mean() - 0.1 * len(found), paths, anchors, free))
        if 1.0 - free.mean() < settings.enough_explained and shortest is None:
            continue
        length = description_length(paths, anchors, free)
        if shortest is not None and length > shortest[0] - _SHORTER:
            return shortest[1:]
        shortest = length, paths, anchors, free
        scattered = sum(len(anchor.member) for anchor in anchors if anchor.parity == 0)
        if scattered < _SCATTERED * len(free):
            break
    if shortest is not None:
        return shortest[1:]
    _, paths, anchors, free = max(found, key=lambda item: item[0])
    return paths, anchors, free


def _relocate(reports, place, paths: UnfoldedPaths, anchors: list[Anchor]):
    """Move every user to where its own paths, seen through the anchors, place it."""
    prior = 1.0 / np.maximum(reports.position_std, 1e-3) ** 2
    normal = prior[:, None, None] * np.eye(2)
    right = prior[:, None] * place[:, :2]
    for anchor in anchors:
        if anchor.parity == 0 or len(anchor.member) < 6:
            continue
        m = anchor.member
        matrix = rotation(anchor.parity, anchor.angle)
        seen = (paths.point[m, :2] - anchor.offset) @ matrix
        out = paths.outward[m] @ matrix
        left = np.stack([-out[:, 1], out[:, 0]], axis=-1)
        std = reports.position_std[paths.report[m]]
        along = np.maximum(paths.along_std[m] ** 2 - std**2, 0.1**2)
        across = np.maximum(paths.across_std[m] ** 2 - std**2, 0.1**2)
        robust = 1.0 / (1.0 + misfit(paths, m, anchor.parity, anchor.angle, anchor.offset) / 4.0)
        weight = (
            np.einsum("pi,pj->pij", out, out) * (robust / along)[:, None, None]
            + np.einsum("pi,pj->pij", left, left) * (robust / across)[:, None, None]
        )
        np.add.at(normal, paths.report[m], weight)
        np.add.at(right, paths.report[m], np.einsum("pij,pj->pi", weight, seen))
    moved = np.linalg.solve(normal, right[..., None])[..., 0]
    return np.concatenate([moved, place[:, 2:]], axis=1)


def _wrong_reports(paths: UnfoldedPaths, free, count) -> np.ndarray:
    """Mark reports whose paths almost all contradict anchors that explain most others."""
    if free.mean() > 0.4:
        return np.zeros(count, dtype=bool)
    listed = np.bincount(paths.report, minlength=count)
    unexplained = np.bincount(paths.report, free, minlength=count)
    return (listed >= 4) & (unexplained > 0.75 * listed)
