"""Images of the environment from users' pilots, with what hides what taken into account.

Takes `Snapshots` of many views and a `VoxelGrid`.
Gives a `VoxelImage`: coefficients, occupancy, visibility, and a certificate.
"""

from echoscape.checks import former_names
from echoscape.imaging.calibration.solver import UserFreeVoxels
from echoscape.imaging.field.solver import NoncoherentPoints
from echoscape.imaging.gamp.published import BigAmp, GampMvsvr
from echoscape.imaging.gamp.solvers import (
    IgnoreOcclusion,
    KnownMask,
    OcclusionAwareGamp,
    UnstructuredMask,
)
from echoscape.imaging.image import image
from echoscape.imaging.known import KnownSupport
from echoscape.imaging.noncoherent import NoncoherentGamp
from echoscape.imaging.problem import Problem, make_problem
from echoscape.imaging.snapshots import Snapshots, read_snapshots, write_snapshots
from echoscape.imaging.solver import GridSolver, Solution, Solver
from echoscape.imaging.support_search.solver import VisibilityGamp
from echoscape.imaging.voxel_image import (
    Certificate,
    ImageStatus,
    VoxelImage,
    read_image,
    write_image,
)

SOLVERS: tuple[type[Solver], ...] = (
    VisibilityGamp,
    OcclusionAwareGamp,
    IgnoreOcclusion,
    UnstructuredMask,
    GampMvsvr,
    BigAmp,
    NoncoherentGamp,
    NoncoherentPoints,
    UserFreeVoxels,
)
"""The solvers that need to know nothing of the truth; the command line offers these."""

__all__ = [
    "SOLVERS",
    "BigAmp",
    "Certificate",
    "GampMvsvr",
    "GridSolver",
    "IgnoreOcclusion",
    "ImageStatus",
    "KnownMask",
    "KnownSupport",
    "NoncoherentGamp",
    "NoncoherentPoints",
    "OcclusionAwareGamp",
    "Problem",
    "Snapshots",
    "Solution",
    "Solver",
    "UnstructuredMask",
    "UserFreeVoxels",
    "VisibilityGamp",
    "VoxelImage",
    "image",
    "make_problem",
    "read_image",
    "read_snapshots",
    "write_image",
    "write_snapshots",
]


def __dir__() -> list[str]:
    return sorted(__all__)


__getattr__ = former_names(
    __name__,
    {
        "VisibilityBits": VisibilityGamp,
        "UnknownMask": UnstructuredMask,
        "WidebandGroups": NoncoherentGamp,
    },
)
