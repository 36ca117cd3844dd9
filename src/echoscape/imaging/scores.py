"""How good a voxel image is, beside a known truth.

Takes a `VoxelImage` and the coefficients that it should have.
Gives `ImageScores`, and the reader of truths that `echoscape pilots make` writes.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from echoscape.checks import InputError
from echoscape.files.archive import open_arrays
from echoscape.imaging.voxel_image import VoxelImage


@dataclasses.dataclass(frozen=True)
class ImageScores:
    """Errors over the voxels that a user and a station see, unless stated."""

    seen: int
    """Voxels that a user and a station see."""
    occupied: int
    """Those of them that are occupied."""
    found: int
    """Occupied voxels that the image shows."""
    false: int
    """Free voxels that the image shows as occupied."""
    f1: float
    """Harmonic mean of precision and recall of the occupied voxels."""
    error_db: float
    """Squared error of the coefficients over their power [dB]."""
    occupied_unseen: int
    """Occupied voxels that nobody sees, which no image can show."""


def score_image(
    image: VoxelImage,
    coefficient: Float[np.ndarray, "x y z"],
    in_range: Bool[np.ndarray, "x y z"],
    threshold: float = 0.1,
) -> ImageScores:
    """Compare an image with the truth.

    Args:
        image: The image.
        coefficient: True coefficients; zero where a voxel is free [1].
        in_range: Whether a user and a station see the voxel.
        threshold: A voxel whose coefficient is at least this counts as shown; the true ones of
            simulated scenes lie between 0.2 and 1 [1].
    """
    if coefficient.shape != image.mean.shape:
        raise InputError(
            f"the truth has {' x '.join(map(str, coefficient.shape))} voxels, but the image has "
            f"{' x '.join(map(str, image.mean.shape))}; give the truth of the same grid"
        )
    mean = np.abs(image.mean) if np.iscomplexobj(image.mean) else image.mean
    shown, there = (mean > threshold) & in_range, (coefficient != 0) & in_range
    hits = int(np.sum(shown & there))
    wrong = np.sum((mean - coefficient)[in_range] ** 2)
    power = np.sum(coefficient[in_range] ** 2)
    return ImageScores(
        seen=int(in_range.sum()),
        occupied=int(there.sum()),
        found=hits,
        false=int(np.sum(shown & ~there)),
        f1=2 * hits / max(int(shown.sum() + there.sum()), 1),
        error_db=float(10 * np.log10(max(wrong / max(power, 1e-30), 1e-12))),
        occupied_unseen=int(np.sum((coefficient != 0) & ~in_range)),
    )


def read_truth(
    path: str | Path,
) -> tuple[Float[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"]]:
    """Read coefficients, and which voxels are seen, from what ``pilots make --truth`` wrote."""
    with open_arrays(path, "voxel truth", ("coefficient", "in_range")) as stored:
        coefficient = stored.array("coefficient", "real", (None, None, None))
        in_range = stored.array("in_range", "boolean", coefficient.shape)
    return coefficient.astype(float), in_range.astype(bool)
