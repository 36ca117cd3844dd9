"""What a receiver can know of paths: directions, lengths, powers, and how far to trust them.

Takes arrays with the paths on the last axis.
Gives `PathEstimates`, the name that `propagation.Paths` has where they were measured.
"""

from echoscape.propagation.path import AnyArray, Paths

PathEstimates = Paths

__all__ = ["AnyArray", "PathEstimates"]
