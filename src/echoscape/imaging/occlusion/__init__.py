"""Which voxel hides which link segment, and what a blocked segment says about occupancy.

Takes A voxel grid, positions.
Gives Visibility of link segments, messages to occupancy, coverage.
"""
