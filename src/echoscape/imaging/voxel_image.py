"""The image: what stands in every voxel, how sure that is, and whether to trust it.

Takes what a solver found.
Gives a `VoxelImage`, and the ``.npz`` file that holds it.
"""

import math
import os

import equinox as eqx
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Complex, Float, Inexact

from echoscape.checks import InputError
from echoscape.display import Displayed, Status, span
from echoscape.files.archive import open_arrays, write_arrays
from echoscape.files.npz import Kind
from echoscape.scene.static_points import StaticPoints
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.units import wavelength_of

LEAST_LOG_ODDS = 5.0
"""An image is not certified while one of its voxels has smaller log-odds than this."""


LEAST_EXPLAINED = 0.5
"""An image that explains less of what was received beyond noise is of another place; one of the
right place explains nearly all of it, whatever its mistakes."""


class ImageStatus(Status):
    """How a solver ended."""

    CONVERGED = 0
    """The solver settled, and what it leaves unexplained looks like noise."""
    ITERATION_LIMIT = 1
    """The allowed iterations, or points, were used up; allow more."""
    DIVERGED = 2
    """The messages grew without bound, the image is the best iterate before that; choose another
    solver."""
    MISFIT = 3
    """More than noise is left unexplained; positions, gains or phases may be off: state their
    deviations, name them as unknown, or use noncoherent-points."""
    OVERFITTED = 4
    """Less than the stated noise is left; state a smaller noise_variance, or none."""
    UNEXPLAINED = 5
    """Little of what was received is explained; give the grid, users and antennas in one frame, in
    m, and the frequency in Hz."""
    UNSURE = 6
    """Something in the image may as well not be there; use more users, stations or subcarriers, a
    wider band for such small voxels, or send longer pilots."""


class Certificate(eqx.Module):
    """Whether the samples that the image leaves unexplained are noise and no more."""

    misfit: float
    """Mean squared residual over the noise, per sample that no coefficient was fitted to."""
    limit: float
    """Largest misfit that noise alone explains."""
    noise_known: bool
    """Whether the noise is known; a noise learnt from the residual itself certifies nothing."""
    least_log_odds: float = math.inf
    """Log-odds of the occupied voxel that is least sure; infinite if the solver does not say."""
    explained: float = 1.0
    """Share of what was received beyond noise that the image explains."""
    lowest: float = 0.0
    """Smallest misfit that noise alone explains."""
    needed_log_odds: float = LEAST_LOG_ODDS
    """Log-odds that every occupied voxel must have."""
    converged: bool = True
    """Whether the solver settled."""

    @property
    def holds(self) -> bool:
        """Whether the image can be trusted; never where a number is NaN."""
        sure = self.least_log_odds >= self.needed_log_odds
        fits = self.lowest <= self.misfit <= self.limit and math.isfinite(self.misfit)
        known = self.noise_known and self.explained >= LEAST_EXPLAINED
        return bool(known and fits and sure and self.converged)

    def judge(self, status: ImageStatus) -> ImageStatus:
        """Say how a solver ended that settled: whether what it leaves is noise."""
        if status is not ImageStatus.CONVERGED:
            return status
        if not math.isfinite(self.misfit):
            return ImageStatus.DIVERGED
        if self.explained < LEAST_EXPLAINED:
            return ImageStatus.UNEXPLAINED
        if self.noise_known and self.misfit > self.limit:
            return ImageStatus.MISFIT
        if self.noise_known and self.misfit < self.lowest:
            return ImageStatus.OVERFITTED
        if self.least_log_odds < self.needed_log_odds:
            return ImageStatus.UNSURE
        return status


class VoxelImage(Displayed, eqx.Module):
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
    settings: str = "{}"
    """The solver's name and settings, as JSON."""
    frequency: float | None = None
    """Middle of the band [Hz]."""
    point_position: Float[np.ndarray, "point 3"] | None = None
    """Positions of scatterers off the grid, where the solver finds them [m]."""
    point_covariance: Float[np.ndarray, "point 3 3"] | None = None
    """Their covariances [m^2]."""
    point_coefficient: Float[np.ndarray, " point"] | None = None
    """Their coefficients, root mean square over open links [1]."""
    user_position: Float[np.ndarray, "user 3"] | None = None
    """Positions of users, refined with the image [m]."""
    user_gain: Complex[np.ndarray, " user"] | None = None
    """Complex gains of users relative to what their pilots and positions say [1]."""
    user_clock: Float[np.ndarray, " user"] | None = None
    """Clock errors of users [s]."""
    model_error: float | None = None
    """Share of the received power that is left beyond the stated noise [1]."""

    def to_arrow(self) -> pa.Table:
        """Lay the voxels out as an Arrow table, one row each, x slowest."""
        centre = self.grid.centres()
        columns = {axis: centre[:, i] for i, axis in enumerate("xyz")}
        columns |= {"mean": np.real(self.mean).ravel()}
        if np.iscomplexobj(self.mean):
            columns |= {"mean_imaginary": np.imag(self.mean).ravel()}
        names = ("variance", "occupancy", "unseen")
        return pa.table(columns | {name: getattr(self, name).ravel() for name in names})

    def summary_rows(self) -> dict[str, str]:
        """Give the grid, the counts of voxels and how the solver ended."""
        occupied = int(self.occupied().sum())
        centre = self.grid.centres()
        trusted = "can be trusted" if self.certificate.holds else "cannot be trusted"
        return {
            "voxels": f"{self.grid.voxels:,} of {self.grid.edge:g} m, {occupied:,} occupied, "
            f"{int(self.unseen.sum()):,} out of sight",
            **{axis: span(centre[:, i], "m") for i, axis in enumerate("xyz")},
            str(self.status): self.status.advice,
            "certificate": f"{trusted}: misfit {self.certificate.misfit:.3g}, at most "
            f"{self.certificate.limit:.3g}",
        }

    def static_points(self) -> StaticPoints:
        """Give the occupied voxels as scatterers, for a channel map or a tracker to start from.

        A voxel stands anywhere inside its cube, which is a variance of a twelfth of the squared
        edge along each axis; points off the grid keep their own covariance.
        """
        if self.point_position is not None:
            place, size = self.point_position, np.asarray(self.point_coefficient)
            own = np.asarray(self.point_covariance)
            spread = np.full(len(place), np.nan)
        else:
            index = np.flatnonzero(self.occupied())
            place, size = self.grid.centre_of(index), np.abs(self.mean.reshape(-1)[index])
            own = np.broadcast_to(self.grid.edge**2 / 12 * np.eye(3), (len(index), 3, 3))
            deviation = np.sqrt(self.variance.reshape(-1)[index])
            spread = 2 * deviation / np.maximum(size, 1e-12)
        gain = None
        if self.frequency is not None:
            reach = (wavelength_of(self.frequency) / (4 * np.pi)) ** 2
            gain = 2 * np.log(np.maximum(size, 1e-12) * reach)
        return StaticPoints.scatterers(
            place,
            covariance=own,
            log_gain=gain,
            log_gain_std=None if gain is None else spread,
            origin=np.zeros(len(place), int),
            provenance=("image",),
        )

    def occupied(self) -> Bool[np.ndarray, "x y z"]:
        """Say which voxels are more likely occupied than not, among those in sight."""
        return (self.occupancy > 0.5) & ~self.unseen


_OPTIONAL: dict[str, tuple[Kind, tuple[int | str, ...]]] = {
    "frequency": ("real", ()),
    "point_position": ("real", ("point", 3)),
    "point_covariance": ("real", ("point", 3, 3)),
    "point_coefficient": ("real", ("point",)),
    "user_position": ("real", ("user", 3)),
    "user_gain": ("complex", ("user",)),
    "user_clock": ("real", ("user",)),
    "model_error": ("real", ()),
}
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
            "least_log_odds": image.certificate.least_log_odds,
            "explained": image.certificate.explained,
            "noise_variance": image.noise_variance,
            "misfit_lowest": image.certificate.lowest,
            "needed_log_odds": image.certificate.needed_log_odds,
            "converged": image.certificate.converged,
            "settings": np.array(image.settings),
            "reason": np.array(image.status.advice),
        }
        | {name: value for name in _OPTIONAL if (value := getattr(image, name)) is not None},
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

        more: dict[str, Any] = {
            name: stored.array(name, kind, shape) if shape else stored.number(name)
            for name, (kind, shape) in _OPTIONAL.items()
            if name in stored
        }
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
                optional("least_log_odds", optional("least_worth", math.inf)),
                optional("explained", 1.0),
                optional("misfit_lowest", 0.0),
                optional("needed_log_odds", LEAST_LOG_ODDS),
                bool(stored["converged"]) if "converged" in stored else True,
            ),
            settings=str(stored["settings"]) if "settings" in stored else "{}",
            **more,
        )
