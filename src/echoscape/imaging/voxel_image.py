"""The image: what stands in every voxel, how sure that is, and whether to trust it.

Takes what a solver found.
Gives a `VoxelImage`, and the ``.npz`` file that holds it.
"""

import enum
import math
import os

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Inexact

from echoscape.checks import InputError
from echoscape.reports.archive import open_arrays, write_arrays
from echoscape.scene.voxel_grid import VoxelGrid

LEAST_WORTH = 5.0
"""An image is not certified while one of its voxels has smaller log-odds than this."""


LITTLE = 0.5
"""An image that explains less of what was received beyond noise is of another place; one of the
right place explains nearly all of it, whatever its mistakes."""


class ImageStatus(enum.IntEnum):
    """How a solver ended."""

    CONVERGED = 0
    """The messages settled."""
    ITERATION_LIMIT = 1
    """The allowed iterations were used up."""
    DIVERGED = 2
    """The messages grew without bound; the image is the best iterate before that."""


class Certificate(eqx.Module):
    """Whether the samples that the image leaves unexplained are noise and no more."""

    misfit: float
    """Mean squared residual over the noise, per sample that no coefficient was fitted to."""
    limit: float
    """Largest misfit that noise alone explains."""
    noise_known: bool
    """Whether the noise is known; a noise learnt from the residual itself certifies nothing."""
    least_worth: float = math.inf
    """Log-odds of the occupied voxel that is least sure; infinite if the solver does not say."""
    explained: float = 1.0
    """Share of what was received beyond noise that the image explains."""

    @property
    def holds(self) -> bool:
        """Whether the image can be trusted."""
        sure = self.least_worth >= LEAST_WORTH
        return self.noise_known and self.misfit <= self.limit and sure


class VoxelImage(eqx.Module):
    """An image over a grid; arrays of numpy, axes x, y, z."""

    grid: VoxelGrid
    """The voxels."""
    mean: Inexact[np.ndarray, "x y z"]
    """Scattering coefficient, posterior mean [1]."""
    variance: Float[np.ndarray, "x y z"]
    """Its posterior variance [1]."""
    occupancy: Float[np.ndarray, "x y z"]
    """Probability that the voxel is occupied [1]."""
    unseen: Bool[np.ndarray, "x y z"]
    """Out of sight of every user or of every station: the image says nothing about these."""
    visibility: Bool[np.ndarray, "view x y z"]
    """Whether each user, then each station, sees the voxel."""
    noise_variance: float
    """Mean squared noise of a received sample, given or learnt [unit of the samples squared]."""
    iterations: int
    """Iterations of message passing, over all starts."""
    status: ImageStatus
    """How the solver ended."""
    certificate: Certificate
    """Whether the image can be trusted."""

    def occupied(self) -> Bool[np.ndarray, "x y z"]:
        """Say which voxels are more likely occupied than not, among those in sight."""
        return (self.occupancy > 0.5) & ~self.unseen


_NEEDED = (
    "origin",
    "edge",
    "shape",
    "mean",
    "variance",
    "occupancy",
    "unseen",
    "visibility",
    "status",
    "iterations",
    "certificate",
    "misfit",
    "misfit_limit",
    "noise_known",
    "noise_variance",
)


def write_image(image: VoxelImage, path: str | os.PathLike[str]) -> None:
    """Write an image as ``.npz``, whole or not at all."""
    views = image.visibility.reshape(len(image.visibility), -1)
    write_arrays(
        path,
        "image",
        {
            "origin": image.grid.origin,
            "edge": image.grid.edge,
            "shape": image.grid.shape,
            "mean": image.mean,
            "variance": image.variance,
            "occupancy": image.occupancy,
            "unseen": image.unseen,
            "visibility": np.packbits(views, axis=1),
            "status": int(image.status),
            "iterations": image.iterations,
            "certificate": image.certificate.holds,
            "misfit": image.certificate.misfit,
            "misfit_limit": image.certificate.limit,
            "noise_known": image.certificate.noise_known,
            "least_worth": image.certificate.least_worth,
            "explained": image.certificate.explained,
            "noise_variance": image.noise_variance,
        },
    )


def read_image(path: str | os.PathLike[str]) -> VoxelImage:
    """Read an image from its ``.npz`` file, or refuse it in one sentence."""
    with open_arrays(path, "image", _NEEDED) as stored:
        x, y, z = (int(count) for count in stored.array("shape", "integer", (3,)))
        low_x, low_y, low_z = (float(value) for value in stored.array("origin", "real", (3,)))
        grid = VoxelGrid((low_x, low_y, low_z), (x, y, z), float(stored.number("edge")))
        packed = stored.array("visibility", "integer", (None, -(-grid.voxels // 8)))
        bits = np.unpackbits(packed.astype(np.uint8), axis=1, count=grid.voxels)
        status = stored.number("status", "integer")
        if status not in set(ImageStatus):
            raise InputError(f"status must be the number of one of {list(ImageStatus)}")

        def optional(name: str, default: float) -> float:
            if name not in stored:
                return default
            return float(stored.number(name, finite=False))

        return VoxelImage(
            grid=grid,
            mean=stored.array("mean", "complex", (x, y, z)),
            variance=stored.array("variance", "real", (x, y, z)),
            occupancy=stored.array("occupancy", "real", (x, y, z)),
            unseen=stored.array("unseen", "boolean", (x, y, z)),
            visibility=bits.reshape(-1, x, y, z).astype(bool),
            noise_variance=float(stored.number("noise_variance")),
            iterations=int(stored.number("iterations", "integer")),
            status=ImageStatus(int(status)),
            certificate=Certificate(
                float(stored.number("misfit", finite=False)),
                float(stored.number("misfit_limit", finite=False)),
                bool(stored.array("noise_known", "boolean", ())),
                optional("least_worth", math.inf),
                optional("explained", 1.0),
            ),
        )
