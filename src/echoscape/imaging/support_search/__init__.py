"""Discrete search over lists of occupied voxels with visibility variables: the default solver.

Takes The operator and samples.
Gives Occupied voxels, coefficients, visibilities.
"""
