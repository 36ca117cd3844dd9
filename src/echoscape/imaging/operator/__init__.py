"""The factored measurement operator: the full matrix is never formed.

Takes Snapshots, a grid.
Gives Products with the operator and its adjoint.
"""
