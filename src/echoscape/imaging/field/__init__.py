"""Link-free wideband imaging for the field: points off the grid, users' errors refined with them.

Takes Channels of several subcarriers, stated positions and their deviations.
Gives Points with covariances, refined users and clocks, the model error.
"""
