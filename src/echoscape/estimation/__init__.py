"""From received samples, or from truth plus stated errors, to estimates of paths.

Takes paths of propagation and the errors a receiver would make.
Gives `PathEstimates`.
"""

from echoscape.estimation.path_estimates import AnyArray, PathEstimates

__all__ = ["AnyArray", "PathEstimates"]
