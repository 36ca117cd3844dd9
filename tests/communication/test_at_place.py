"""What maps say of a place: the prior's numbers, beams in order, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.communication.at_place import forecast_at
from echoscape.scene import PlanarArray, beam_direction, dft_codebook, steering_vector
from echoscape.scene.direction import angles_of
from tests.worlds.point_maps import scatterer_map

PLACE = np.array([42.0, 37.0, 0.0])
ARRAY = PlanarArray(rows=2, columns=8, azimuth=1.2, tilt=0.0)


@pytest.mark.slow
def test_paths_are_those_of_the_map_in_the_order_of_power():
    made = scatterer_map()
    said = forecast_at({"mast": made}, PLACE)
    prior = made(jnp.asarray(PLACE))
    order = np.argsort(-np.asarray(prior.power))
    np.testing.assert_allclose([p.power for p in said.paths], np.asarray(prior.power)[order])
    np.testing.assert_allclose(
        [p.departure_azimuth for p in said.paths], np.asarray(prior.departure_azimuth)[order]
    )
    std = np.sqrt(np.asarray(prior.covariance)[order, 2, 2]) / 299_792_458.0
    np.testing.assert_allclose([p.delay_std for p in said.paths], std)
    assert said.distance == pytest.approx(float(made.support(PLACE[None])[0]))


def test_the_best_beam_is_that_of_the_probable_paths():
    said = forecast_at({"mast": scatterer_map()}, PLACE, arrays={"mast": ARRAY}, beams=2)
    power = np.zeros(ARRAY.elements)
    for path in said.paths:  # they are narrow beside the beams
        angles = (jnp.asarray(a) for a in (path.departure_azimuth, path.departure_zenith))
        response = np.conj(dft_codebook(2, 8)) @ np.asarray(steering_vector(ARRAY, *angles))
        power += path.probability * path.power * np.abs(response) ** 2
    assert [beam.beam for beam in said.beams] == np.argsort(-power)[:2].tolist()
    assert said.beams[0].power == pytest.approx(power.max(), rel=0.1)


@pytest.mark.parametrize("beam", [0, 1, 3, 5, 7])
def test_a_beam_peaks_where_it_points(beam):
    way = beam_direction(ARRAY, beam)
    azimuth, zenith = angles_of(jnp.asarray(way))
    response = np.abs(
        np.conj(dft_codebook(2, 8)) @ np.asarray(steering_vector(ARRAY, azimuth, zenith))
    )
    assert np.argmax(response) == beam
    assert response[beam] == pytest.approx(np.sqrt(ARRAY.elements))


def test_a_beam_beyond_what_is_visible_points_nowhere():
    assert np.isnan(beam_direction(PlanarArray(rows=4, columns=4), 2 * 4 + 2)).all()


@pytest.mark.parametrize(
    ("place", "std", "words"),
    [
        ([1.0, np.nan, 0.0], 0.0, "three finite coordinates, in m"),
        (PLACE, -1.0, "not negative, in m"),
    ],
)
def test_bad_places_are_refused(place, std, words):
    with pytest.raises(InputError, match=words):
        forecast_at({"mast": scatterer_map()}, np.array(place), position_std=std)
