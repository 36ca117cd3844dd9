"""Chains against their dense matrices."""

import numpy as np

from echoscape.numerics.block_tridiagonal import band_of, invert_band, sum_of


def chain(steps=4):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(steps, 12, 12))
    block = root @ np.swapaxes(root, 1, 2)
    dense = np.zeros((6 * steps + 6, 6 * steps + 6))
    for k in range(steps):
        dense[6 * k : 6 * k + 12, 6 * k : 6 * k + 12] += block[k]
    return block, dense


def test_a_band_holds_the_lower_diagonals():
    block, dense = chain()
    banded = band_of(block)
    for i in range(12):
        assert np.allclose(banded[i, : len(dense) - i], np.diagonal(dense, -i), rtol=1e-13)


def test_vectors_of_neighbours_add_up():
    part = np.arange(24.0).reshape(2, 12)
    expected = [*part[0, :6], *(part[0, 6:] + part[1, :6]), *part[1, 6:]]
    assert np.array_equal(sum_of(part), expected)


def test_the_inverse_is_the_dense_one_where_the_matrix_has_entries():
    block, dense = chain()
    inverse = np.linalg.inv(dense).reshape(5, 6, 5, 6)
    own, right = invert_band(band_of(block))
    for k in range(5):
        assert np.allclose(own[k], inverse[k, :, k], rtol=1e-8, atol=1e-10)
    for k in range(4):
        assert np.allclose(right[k], inverse[k, :, k + 1], rtol=1e-8, atol=1e-10)
