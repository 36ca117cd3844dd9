"""One tone, users not where they say: a start free of the users, then gains and offsets fitted.

Takes `Snapshots` and a grid.
Gives a coherent image with users' gains and positions.
"""
