"""Maps that version 0.1 wrote load and predict what they predicted then."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import VirtualAnchorMap, load_maps
from echoscape.scene import PointKind
from echoscape.units import SPEED_OF_LIGHT

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "maps_0.1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["virtual_anchors", "scatterers", "nearest", "extrapolated", "network"]
)
def test_a_map_of_version_0_1_predicts_the_same(name):
    (loaded,) = load_maps(FOLDER / name).values()
    with np.load(FOLDER / "predictions.npz") as file:
        place = file["places"]
        then = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    now = jax.jit(jax.vmap(loaded))(jnp.asarray(place))
    unit = np.array([1.0, 1.0, SPEED_OF_LIGHT])
    then["covariance"] = then["covariance"] * unit[:, None] * unit
    then["length"] = SPEED_OF_LIGHT * then.pop("delay")
    # The network computes in single precision, the others in double.
    tolerance = 1e-5 if name == "network" else 1e-9
    for field, value in then.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(
            getattr(now, field), value, rtol=tolerance, atol=tolerance * scale, err_msg=field
        )


def test_every_kind_of_point_is_in_the_old_map():
    (loaded,) = load_maps(FOLDER / "virtual_anchors").values()
    assert isinstance(loaded, VirtualAnchorMap)
    points = loaded.static_points()
    kinds = set(points.kind.tolist())
    assert kinds == {PointKind.VIRTUAL_ANCHOR, PointKind.EDGE, PointKind.UNDETERMINED}
    assert set(points.reflection.tolist()) == {-1.0, 1.0}
