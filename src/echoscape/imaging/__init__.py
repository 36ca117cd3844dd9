"""Images of the environment from users' pilots, with what hides what taken into account.

Takes `Snapshots` of many views and a `VoxelGrid`.
Gives a `VoxelImage`: coefficients, occupancy, visibility, and a certificate.
"""

from echoscape.imaging.gamp.solvers import (
    IgnoreOcclusion,
    KnownMask,
    OcclusionAwareGamp,
    Solution,
    Solver,
    UnknownMask,
)
from echoscape.imaging.image import image
from echoscape.imaging.known import KnownSupport
from echoscape.imaging.noncoherent import WidebandGroups
from echoscape.imaging.problem import Problem, make_problem
from echoscape.imaging.snapshots import Snapshots, read_snapshots, write_snapshots
from echoscape.imaging.support_search.solver import VisibilityBits
from echoscape.imaging.voxel_image import (
    Certificate,
    ImageStatus,
    VoxelImage,
    read_image,
    write_image,
)

__all__ = [
    "Certificate",
    "IgnoreOcclusion",
    "ImageStatus",
    "KnownMask",
    "KnownSupport",
    "OcclusionAwareGamp",
    "Problem",
    "Snapshots",
    "Solution",
    "Solver",
    "UnknownMask",
    "VisibilityBits",
    "VoxelImage",
    "WidebandGroups",
    "image",
    "make_problem",
    "read_image",
    "read_snapshots",
    "write_image",
    "write_snapshots",
]


def __dir__() -> list[str]:
    return sorted(__all__)
