"""Links of several users and stations: each is its own realisation, padded, distinguished."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion, realize
from echoscape.channel_model.links import realize_links, write_links
from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from tests.channel_model.test_ray import USER, world
from tests.channel_model.test_response import direct


@pytest.mark.slow
def test_every_link_is_its_own_realisation_and_short_ones_are_padded(tmp_path, key):
    motions = [
        Motion(jnp.array([0.0, 1.0]), jnp.asarray(np.stack([USER + k, USER + k])),
               jnp.zeros((2, 3)))
        for k in (0.0, 2.0)
    ]  # fmt: skip
    rays, time = [[world(), direct()]] * 2, np.array([0.0, 0.5])
    arrays, receive = [PlanarArray(1, 2), PlanarArray(2, 1)], PlanarArray(1, 3)
    found = realize_links(rays, motions, time, 3e9, arrays, receive, key=key)
    assert found.coefficient.shape == (2, 2, 2, 3, 2, 6)
    for u, s in np.ndindex(2, 2):
        one = realize(rays[u][s], motions[u], jnp.asarray(time), 3e9, arrays[s], receive,
                      key=jax.random.fold_in(key, 2 * u + s))  # fmt: skip
        paths = one.delay.shape[1]
        assert np.array_equal(found.coefficient[u, s, ..., :paths], one.coefficient)
        assert np.array_equal(found.delay[u, s, :, :paths], one.delay)
        assert not found.coefficient[u, s, ..., paths:].any()
    assert np.allclose(found.position[1, 1], USER + 2.0)
    write_links(found, tmp_path / "a.npz", station=np.zeros((2, 3)), names=("a", "b"))
    with np.load(tmp_path / "a.npz") as file:
        assert file["a"].shape == (2, 3, 2, 2, 6, 2)
        assert np.array_equal(file["a"][1, 2, 0, 1, :, 1], found.coefficient[1, 0, 1, 2, 1])
        assert list(file["station"]) == ["a", "b"]


def test_stations_of_different_sizes_are_refused(key):
    with pytest.raises(InputError, match="arrays of one size; got 1, 4 elements; give --transmit"):
        realize_links([], [], np.zeros(1), 3e9, [PlanarArray(), PlanarArray(2, 2)], PlanarArray(),
                      key=key)  # fmt: skip
