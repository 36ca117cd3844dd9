"""Attenuation of links: a made-up person, the measured basement, refusals."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging.radio_tomography import image_attenuation, make_plane, strongest_place
from tests.worlds import basement

NODE = np.array(
    [[0.0, 0.3], [4.1, 0.0], [6.2, 2.0], [5.7, 5.4], [2.3, 6.1], [0.2, 3.6], [3.0, 6.0]]
)
LINK = np.array([(i, j) for i in range(7) for j in range(i)])


def test_a_person_stands_where_the_links_cross():
    plane = make_plane(NODE, LINK)
    generator = np.random.default_rng(2)
    places = generator.uniform([1.2, 1.2], [4.8, 4.8], (20, 2))
    apart = np.linalg.norm(plane.pixel[None] - places[:, None], axis=-1)
    body = 5.0 * np.exp(-0.5 * (apart / 0.25) ** 2)
    weaker = body @ plane.weight.T + 0.3 * generator.standard_normal((20, len(LINK)))
    found = strongest_place(plane, image_attenuation(plane, weaker, 0.3))
    wrong = np.linalg.norm(found - places, axis=1)
    # Pixels of 0.4 m and 21 links: half of all within a pixel.
    assert np.median(wrong) < 0.4


@pytest.mark.slow
def test_the_basement(shared):
    folder = shared / "data/measured/rti_basement"
    if not folder.is_dir():
        pytest.skip("needs the measured basement")
    node, link, weaker, place, there = basement.read(folder)
    author = np.loadtxt(folder / "author_estimate_run1.txt")
    detected = there & (author[:, 0] > -90)
    wrong = np.sqrt(np.mean(np.sum((author - place)[detected] ** 2, 1)))
    assert wrong == pytest.approx(1.54, abs=0.01)  # the schedule is read as the data's notes do
    plane = make_plane(node, link)
    picture = image_attenuation(plane, basement.averaged(weaker, 4)[there], 1.0)
    found = strongest_place(plane, picture)
    ours = np.sqrt(np.mean(np.sum((found - place[there]) ** 2, 1)))
    # Every instant counts, the author's 42 misses among them; 1.26 m on every fourth of them.
    assert ours < 1.40


def test_refusals_say_what_was_needed():
    plane = make_plane(NODE, LINK)
    with pytest.raises(InputError, match="needs 21 links at each instant"):
        image_attenuation(plane, np.zeros((3, 20)), 1.0)
    with pytest.raises(InputError, match="finite numbers, in dB"):
        image_attenuation(plane, np.full((3, 21), np.nan), 1.0)
    with pytest.raises(InputError, match="noise must be above zero"):
        image_attenuation(plane, np.zeros((3, 21)), 0.0)
    with pytest.raises(InputError, match="edge, detour and body must be above zero, in m"):
        make_plane(NODE, LINK, edge=0.0)
    with pytest.raises(InputError, match="two nodes at different places"):
        make_plane(NODE, np.array([[1, 1]]))
