"""A map of point scatterers stated outright, and echoes of its own paths, for tests of searches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_map import ScattererMap
from echoscape.estimation import PathEstimates
from echoscape.reports import Reports
from echoscape.scene import StaticPoints

SCATTERER = np.array(
    [[12.0, 71.0, 0.0], [33.0, 18.0, 0.0], [58.0, 83.0, 0.0], [76.0, 35.0, 0.0], [91.0, 66.0, 0.0]]
)
SEEN = np.array([0.95, 0.9, 0.97, 0.85, 0.92])
"""Probability that each is among the strongest; distinct, so that exchanged odds show."""


def scatterer_map(shift=(0.0, 0.0), station="mast", reports=60, seed=0) -> ScattererMap:
    """State a map whose paths have unequal errors, with reports drawn over the square."""
    place = np.random.default_rng(seed).uniform(5.0, 95.0, (reports, 2))
    moved = np.array([*shift, 0.0])
    return ScattererMap(
        points=StaticPoints.scatterers(
            SCATTERER + moved,
            np.einsum("k,ij->kij", np.linspace(0.05, 0.12, 5) ** 2, np.diag([1.0, 1.0, 0.0])),
            log_gain=np.array([0.0, -0.4, 0.3, -0.9, 0.1]),
            log_gain_std=np.full(5, 0.1),
            visibility=SEEN,
        ),
        report_position=np.c_[place, np.zeros(reports)] + moved,
        station_position=np.array([50.0, 0.0, 0.0]) + moved,
        station=station,
        reported_paths=5,
        planar=True,
    )


def reports_of(channel_map, place) -> Reports:
    """Report the paths that a map predicts, without errors."""
    prior = jax.tree.map(np.asarray, jax.jit(jax.vmap(channel_map))(jnp.asarray(place)))
    zero = np.zeros(prior.length.shape)
    paths = PathEstimates(
        departure_azimuth=prior.departure_azimuth, departure_zenith=prior.departure_zenith,
        arrival_azimuth=zero, arrival_zenith=zero, length=prior.length, power=prior.power,
        departure_azimuth_std=zero, departure_zenith_std=zero, arrival_azimuth_std=zero + np.inf,
        arrival_zenith_std=zero + np.inf, length_std=zero, valid=prior.probability > 0.5,
    )  # fmt: skip
    return Reports(
        paths, place, zero[:, 0], zero[:, 0], np.arange(len(place)), np.zeros(len(place), int),
        np.asarray(channel_map.station_position)[None], (channel_map.station,),
    )  # fmt: skip


def some_targets(echoes, rows):
    """Keep some sets of echoes."""
    return dataclasses.replace(
        echoes,
        target=echoes.target[rows],
        time=echoes.time[rows],
        station_index=echoes.station_index[rows],
        estimates=jax.tree.map(lambda leaf: np.asarray(leaf)[rows], echoes.estimates),
    )
