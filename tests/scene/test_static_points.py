"""Static points: identities of the isometries, oblique walls, joining, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.scene import (
    PointKind,
    StaticPoints,
    compose,
    concatenate,
    image_of_user,
    inverse,
    isometry,
    rotation_matrix,
    scatterer_position,
    translate,
)

USER = np.array([3.7, -8.1, 1.6])
EXACT = {"rtol": 0, "atol": 1e-12}  # round-off of metres


def cov(points):
    """Give covariances that must be there."""
    assert points.covariance is not None
    return np.asarray(points.covariance)


def mirror(point, normal, distance):
    """Mirror a point in the plane ``normal . x = distance``, written out."""
    return point - 2 * (point @ normal - distance) * normal


def upright(azimuth):
    return np.array([np.cos(azimuth), np.sin(azimuth), 0.0])


NORMALS = np.stack([upright(0.7), upright(-2.2), [0.0, 0.0, 1.0]])
DISTANCES = np.array([31.0, 12.5, -0.4])


def drawn(count=5, seed=3, **known):
    """Draw isometries of every handedness, with covariances."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(count, 4, 4)) * [[0.3], [0.2], [0.4], [0.01]]
    return StaticPoints(
        kind=np.zeros(count, dtype=int),
        rotation=rng.uniform(-3, 3, count),
        reflection=rng.choice([-1.0, 1.0], count),
        offset=rng.normal(size=(count, 2)) * 40,
        vertical_reflection=rng.choice([-1.0, 1.0], count),
        height_offset=rng.normal(size=count) * 3,
        covariance=factor @ np.swapaxes(factor, 1, 2),
        **known,
    )


def of_kind(points, kind):
    return StaticPoints(**{**vars(points), "kind": np.full(len(points), int(kind))})


def test_reflection_in_a_wall_is_the_mirror_written_out():
    points = StaticPoints.from_walls(NORMALS, DISTANCES)
    expected = [mirror(USER, *plane) for plane in zip(NORMALS, DISTANCES)]
    np.testing.assert_allclose(isometry(points, USER), expected, **EXACT)


def test_composition_takes_the_walls_in_the_order_counted_from_the_station():
    walls = StaticPoints.from_walls(NORMALS, DISTANCES)
    both = compose(compose(walls[[0]], walls[[1]]), walls[[2]])
    point = USER
    for k in (2, 1, 0):  # the wall nearest to the user first
        point = mirror(point, NORMALS[k], DISTANCES[k])
    np.testing.assert_allclose(isometry(both, USER)[0], point, **EXACT)


def test_inverse_undoes_the_isometry():
    points = drawn()
    back = inverse(points)
    for k, image in enumerate(isometry(points, USER)):
        np.testing.assert_allclose(isometry(back, image)[k], USER, **EXACT)


def test_inverse_of_a_composition_is_the_composition_of_inverses_turned_round():
    outer, inner = drawn(seed=3), drawn(seed=4)
    one = inverse(compose(outer, inner))
    two = compose(inverse(inner), inverse(outer))
    np.testing.assert_allclose(isometry(one, USER), isometry(two, USER), **EXACT)
    np.testing.assert_allclose(cov(one), cov(two), rtol=1e-9, atol=1e-9)


def parameters(points):
    return jnp.concatenate(
        [points.offset, points.height_offset[:, None], points.rotation[:, None]], axis=1
    )


def varied(points, vector):
    """Put (offset, height, rotation) of one point in place of its own."""
    return StaticPoints(
        kind=jnp.asarray(points.kind),
        rotation=vector[None, 3],
        reflection=jnp.asarray(points.reflection),
        offset=vector[None, :2],
        vertical_reflection=jnp.asarray(points.vertical_reflection),
        height_offset=vector[None, 2],
    )


@pytest.mark.parametrize("kind", list(PointKind)[:3])
@pytest.mark.parametrize("one", [0, 1, 2])
def test_covariance_of_the_inverse_follows_the_derivative(one, kind):
    points = drawn()[[one]]
    points = StaticPoints(**{**vars(points), "kind": np.array([int(kind)])})
    slope = jax.jacfwd(lambda v: parameters(inverse(varied(points, v)))[0])(
        jnp.asarray(parameters(points)[0])
    )
    expected = slope @ cov(points)[0] @ slope.T
    np.testing.assert_allclose(cov(inverse(points))[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("one", [0, 1, 2])
def test_covariance_of_a_composition_follows_the_derivatives(one):
    outer, inner = drawn(seed=3)[[one]], drawn(seed=4)[[one]]

    def angles_unwrapped(vector):
        both = compose(varied(outer, vector[:4]), varied(inner, vector[4:]))
        return parameters(both)[0]

    at = jnp.concatenate([parameters(outer)[0], parameters(inner)[0]])
    slope = jax.jacfwd(angles_unwrapped)(at)
    block = np.zeros((8, 8))
    block[:4, :4], block[4:, 4:] = cov(outer)[0], cov(inner)[0]
    found = cov(compose(outer, inner))[0]
    np.testing.assert_allclose(found, slope @ block @ slope.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", list(PointKind))
def test_a_moved_frame_describes_the_same_points(kind):
    points = of_kind(drawn(), kind)
    origin, station = np.array([140.0, -75.0, 8.0]), np.array([20.0, 31.0, 12.0])
    moved = translate(points, origin)
    here = image_of_user(moved, USER - origin, station - origin) + origin
    np.testing.assert_allclose(here, image_of_user(points, USER, station), rtol=0, atol=1e-11)
    back = translate(moved, -origin)
    np.testing.assert_allclose(back.offset, points.offset, rtol=0, atol=1e-11)
    np.testing.assert_allclose(back.height_offset, points.height_offset, rtol=0, atol=1e-11)
    # 140 m of lever on up to 0.02 rad leave ten digits of a variance of some square metres.
    np.testing.assert_allclose(cov(back), cov(points), rtol=0, atol=1e-9)


def test_covariance_of_a_moved_frame_follows_the_derivative():
    points, origin = drawn()[[1]], np.array([14.0, -7.0, 2.0])
    slope = jax.jacfwd(lambda v: parameters(translate(varied(points, v), jnp.asarray(origin)))[0])(
        jnp.asarray(parameters(points)[0])
    )
    expected = slope @ cov(points)[0] @ slope.T
    np.testing.assert_allclose(cov(translate(points, origin))[0], expected, rtol=1e-9, atol=1e-9)


def test_matrices_keep_lengths_and_have_the_determinant_of_the_reflection():
    points = drawn()
    matrix = rotation_matrix(points)
    np.testing.assert_allclose(np.linalg.det(matrix), points.reflection, **EXACT)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, 1, 2), [np.eye(2)] * 5, **EXACT)


def test_numpy_stays_double_and_jax_computes_the_same_under_jit():
    points = drawn()
    assert isinstance(isometry(points, USER), np.ndarray)
    device = jax.tree.map(jnp.asarray, points)
    compiled = jax.jit(isometry)(device, jnp.asarray(USER))
    assert isinstance(compiled, jax.Array)
    np.testing.assert_allclose(compiled, isometry(points, USER), **EXACT)


def test_points_are_selected_by_mask_and_joined_again():
    points = drawn(log_gain=np.arange(5.0), origin=np.zeros(5, int), provenance=("reports",))
    mask = np.array([True, False, True, True, False])
    joined = concatenate([points[mask], points[~mask]])
    assert len(points[mask]) == 3
    np.testing.assert_array_equal(joined.log_gain, [0, 2, 3, 1, 4])
    np.testing.assert_array_equal(joined.offset, points.offset[[0, 2, 3, 1, 4]])


def test_a_field_that_one_set_lacks_is_unknown_there_after_joining():
    scattered = StaticPoints.scatterers(np.array([[1.0, 2.0, 3.0]]), provenance=("image",))
    anchors = drawn(2, valid=np.array([True, False]), provenance=("reports",))
    joined = concatenate([scattered, anchors])
    assert np.isnan(cov(joined)[0]).all()
    assert not np.isnan(cov(joined)[1:]).any()
    np.testing.assert_array_equal(joined.valid, [True, True, False])
    assert joined.origin is not None
    assert [joined.provenance[k] for k in joined.origin] == ["image", "reports", "reports"]
    np.testing.assert_array_equal(scatterer_position(joined)[0], [1.0, 2.0, 3.0])


def test_repr_tells_counts_and_sources():
    points = concatenate([
        StaticPoints.scatterers(np.zeros((2, 3)), provenance=("image",)),
        StaticPoints.from_walls(NORMALS, DISTANCES, provenance=("reports of roof",)),
    ])  # fmt: skip
    assert repr(points) == (
        "StaticPoints(3 virtual anchors, 2 scatterers, from image, reports of roof)"
    )
    assert repr(points[:0]) == "StaticPoints(none, from image, reports of roof)"


def changed(**fields):
    points = drawn()
    names = ("kind", "rotation", "reflection", "offset", "vertical_reflection", "height_offset")
    return StaticPoints(**{name: getattr(points, name) for name in names} | fields)


def test_a_rotation_in_degrees_is_refused():
    with pytest.raises(ValueError, match=r"rotation must be finite and in rad.*got 90"):
        changed(rotation=np.full(5, 90.0))


def test_a_reflection_other_than_one_is_refused():
    with pytest.raises(ValueError, match="vertical_reflection must be -1 or 1; got 0"):
        changed(vertical_reflection=np.zeros(5))


def test_fields_must_agree_on_the_number_of_points():
    with pytest.raises((ValueError, TypeError)):  # ours, or the annotation's
        changed(rotation=np.zeros(4))


def test_a_tilted_plane_is_refused():
    normal = np.array([[0.6, 0.0, 0.8]])
    with pytest.raises(ValueError, match="need vertical or level planes; got a tilted one"):
        StaticPoints.from_walls(normal, np.ones(1))


def test_a_scatterer_does_not_compose():
    scattered = StaticPoints.scatterers(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="only virtual anchors compose"):
        compose(scattered, scattered)
