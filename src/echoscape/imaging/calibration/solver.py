"""The solver for coherent stations whose users are not where they say, or have phases of their own.

Which voxels are occupied is found without the users; their gains and offsets follow from that; with
these the samples are coherent again and the default solver makes the image; then users and image
are fitted in turn until neither changes.  Where users may be off by more than a few wavelengths the
first step is all there is.

Takes `Snapshots` and a grid.
Gives a `VoxelImage` with the users' gains and positions.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from echoscape.checks import InputError
from echoscape.imaging.calibration import calibrate
from echoscape.imaging.calibration.calibrate import Fit, Freedom, Occupied
from echoscape.imaging.calibration.user_free import Sheet, Voxels, find_voxels, make_sheet, settle
from echoscape.imaging.field.links import Scene
from echoscape.imaging.field.places import hidden_from
from echoscape.imaging.field.solver import make_scene
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.solver import DEVIATIONS_BELOW, Solver, limit_of
from echoscape.imaging.support_search.solver import VisibilityGamp, slots_for
from echoscape.imaging.voxel_image import Certificate, ImageStatus, VoxelImage
from echoscape.progress import Progress
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.units import delay_of, wavelength_of

LARGEST_OFFSET = calibrate.WIDEST * calibrate.LATTICE / calibrate.DEVIATIONS
"""Deviation of users' positions up to which offsets are searched [wavelengths]."""
GAIN_STD = 0.7
"""Deviation of the logarithm of an unknown gain: 6 dB [1]."""
LEAST_LOG_ODDS = 30.0
"""Log-odds that every voxel of a certified image that is free of the users must have."""


OUTLYING = 4.0
"""A user is set aside for a round where its residual exceeds the median by so many deviations."""
ASIDE = 1e-3
"""Weight of the samples of users that are set aside."""


class UserFreeVoxels(Solver):
    """Stations coherent, users' phases, gains and offsets of up to some wavelengths fitted."""

    phase: bool = True
    """Whether users have phases of their own."""
    gain: bool = True
    """Whether users have gains of their own."""
    occupied_share: float = 0.02
    """Share of voxels taken to be occupied before anything is seen."""
    points: int = 400
    """The most occupied voxels."""
    restarts: int = 4
    """Searches from a random part of the best, before the users are fitted."""
    rounds: int = 6
    """The most rounds of fitting users and image in turn."""
    least_noise: float = 0.1
    """The noise is learnt from the residual, but never below this share of the stated one."""

    def __check_init__(self):
        for name in ("points", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least one; got {getattr(self, name)}")
        if not 0 < self.occupied_share < 1:
            raise ValueError(f"occupied_share must lie between 0 and 1; got {self.occupied_share}")

    def image(
        self,
        snapshots: Snapshots,
        grid: VoxelGrid,
        *,
        radius: float | None = None,
        is_complex: bool = False,
        progress: Progress | None = None,
    ) -> VoxelImage:
        """Make an image.

        Raises:
            InputError: The occlusion radius is no radius, or coefficients are said to be complex.
        """
        if is_complex:
            raise InputError(
                "users' offsets need real coefficients, for complex ones have the "
                "same effect on phases: use --coefficients real, or another solver"
            )
        radius = 0.5 * grid.edge if radius is None else radius
        if not (radius > 0 and math.isfinite(radius)):
            raise InputError(
                f"the occlusion radius must be finite and above zero, in m; got {radius:g}"
            )
        scene, unit, noise = make_scene(snapshots, grid)
        power = float(np.mean(np.abs(scene.channel) ** 2))
        floor = 1e-6 * power if noise is None else self.least_noise * noise
        sheet = make_sheet(scene, grid.centres(), radius, self.occupied_share, floor)
        if progress is not None:
            progress(0, 1 + self.rounds, "voxels")
        voxels = find_voxels(sheet, self.points, self.restarts)
        place, clock = snapshots.deviations()
        one_tone = len(scene.frequency) == 1
        freedom = Freedom(
            offset=place,
            clock=clock,
            gain=GAIN_STD if self.gain else 0.0,
            phase=self.phase or (one_tone and bool(np.any(clock > 0))),
        )
        wavelength = float(wavelength_of(scene.frequency.mean()))
        given = _Given(snapshots, grid, radius, scene, unit, noise, power)
        if np.max(place) > LARGEST_OFFSET * wavelength or not len(voxels.index):
            found = _without_users(given, sheet, voxels)
        else:
            found = self._with_users(given, sheet, voxels, freedom, progress)
        if progress is not None:
            progress(1 + self.rounds, 1 + self.rounds, "users")
        return dataclasses.replace(found, settings=self.settings())

    def _with_users(
        self,
        given: "_Given",
        sheet: Sheet,
        voxels: Voxels,
        freedom: Freedom,
        progress: Progress | None,
    ) -> VoxelImage:
        """Fit users and image in turn; gives the image that leaves least."""
        occupied = Occupied(sheet.centre[voxels.index], voxels.user[:, 0], voxels.station)
        fit = _steered(given.scene, sheet, voxels, np.sqrt(voxels.power), freedom)
        best, image, last = fit, None, np.zeros(0, int)
        users, slots = len(given.scene.user), slots_for(len(voxels.index), given.grid.voxels)
        for number in range(self.rounds):
            if progress is not None:
                progress(1 + number, 1 + self.rounds, "users")
            weight, noise = _trusted(given.scene, fit), max(fit.noise, sheet.floor)
            made = _coherent(given, fit, noise, weight, slots)
            index = np.flatnonzero(made.occupied())
            if not len(index):
                break
            views = made.visibility.reshape(len(made.visibility), -1)[:, index]
            occupied = Occupied(sheet.centre[index], views[:users], views[users:])
            fit = _refined(given.scene, sheet, occupied, index, fit, freedom, noise, weight)
            # A user on a wrong peak stays there: steer all anew by the image as it is now.
            again = settle(sheet, _voxels_of(occupied, index, fit, voxels))
            bits = np.where(weight[:, None] < 1, again.user[:, 0], occupied.user)
            other = _steered(
                given.scene, sheet, again, fit.value, freedom, occupied._replace(user=bits)
            )
            fit = other if other.left.sum() < 0.95 * fit.left.sum() else fit
            settled = np.array_equal(index, last) and fit.left.sum() > 0.99 * best.left.sum()
            if image is None or fit.left.sum() < best.left.sum():
                best, image = fit, made
            last = index
            if settled:
                break
        if image is None:
            return _without_users(given, sheet, voxels)
        everyone = np.ones(users)
        noise = max(float(best.left.mean()), sheet.floor)
        final = _coherent(given, best, noise, everyone, slots)
        index = np.flatnonzero(final.occupied())
        views = final.visibility.reshape(len(final.visibility), -1)[:, index]
        occupied = Occupied(sheet.centre[index], views[:users], views[users:])
        best = _refined(given.scene, sheet, occupied, index, best, freedom, noise, everyone)
        return _certified(given, final, best, freedom)


class _Given(NamedTuple):
    snapshots: Snapshots
    grid: VoxelGrid
    radius: float
    scene: Scene
    unit: float
    """What a power of one is in a received sample."""
    noise: float | None
    """Stated, in units of the scene."""
    power: float
    """Mean squared sample, likewise."""


def _steered(scene, sheet, voxels, value, freedom, occupied=None) -> Fit:
    if occupied is None:
        occupied = Occupied(sheet.centre[voxels.index], voxels.user[:, 0], voxels.station)
    weight = voxels.links.precision * voxels.user
    gain, offset = calibrate.steer(scene, occupied, voxels.links.mean, weight, value, freedom)
    first = calibrate.start(len(scene.user), len(voxels.index))
    first = first._replace(gain=gain, offset=offset)
    everyone = np.ones(len(scene.user))
    fit = _refined(scene, sheet, occupied, voxels.index, first, freedom, voxels.noise, everyone)
    weight = _trusted(scene, fit)
    if np.all(weight == 1.0):
        return fit
    return _refined(scene, sheet, occupied, voxels.index, fit, freedom, voxels.noise, weight)


def _trusted(scene: Scene, fit: Fit) -> np.ndarray:
    """Weigh users: nearly nothing for those of whom more is left than chance allows."""
    samples = scene.channel.size // len(fit.left)
    return np.where(fit.left > limit_of(samples, OUTLYING) * np.median(fit.left), ASIDE, 1.0)


def _refined(scene, sheet, occupied, index, fit, freedom, noise, weight) -> Fit:
    antenna = sheet.antenna[..., index]
    return calibrate.refine(scene, occupied, antenna, fit, freedom, noise, weight)


def _voxels_of(occupied: Occupied, index: np.ndarray, fit: Fit, like: Voxels) -> Voxels:
    tones = like.user.shape[1]
    user = np.repeat(occupied.user[:, None], tones, 1)
    return Voxels(index, user, occupied.station, fit.value**2, fit.noise, np.zeros(len(index)))


def _coherent(given: _Given, fit: Fit, noise: float, weight: np.ndarray, slots: int) -> VoxelImage:
    """Make the image with users as they were fitted."""
    snapshots = given.snapshots
    pilots, received = snapshots.pilots * fit.gain, snapshots.received
    if np.any(fit.clock) or np.any(weight < 1):
        tone = given.scene.frequency - given.scene.frequency.mean()
        turn = np.exp(2j * np.pi * tone * delay_of(fit.clock)[:, None])
        channel = np.einsum("batf,kt->bakf", received, np.linalg.pinv(pilots)) * turn
        pilots = pilots * weight
        received = np.einsum("bakf,tk->batf", channel, pilots)
    corrected = dataclasses.replace(
        snapshots,
        received=received,
        pilots=pilots,
        user_position=snapshots.user_position + fit.offset,
        noise_variance=noise * given.unit,
    )
    solver = VisibilityGamp(learn_noise=False, slots=slots)
    return solver.image(corrected, given.grid, radius=given.radius)


def _certified(given: _Given, image: VoxelImage, fit: Fit, freedom: Freedom) -> VoxelImage:
    stated = fit.noise if given.noise is None else given.noise
    size = given.scene.channel.size
    certificate = dataclasses.replace(
        image.certificate,
        misfit=fit.noise / stated,
        limit=limit_of(size),
        lowest=limit_of(size, -DEVIATIONS_BELOW),
        noise_known=given.noise is not None,
        explained=float(
            np.clip((given.power - fit.noise) / max(given.power - stated, 1e-30), 0, 1)
        ),
    )
    own = image.certificate.converged or image.status in (
        ImageStatus.MISFIT,
        ImageStatus.OVERFITTED,
    )
    certificate = dataclasses.replace(certificate, converged=own)
    status = certificate.judge(ImageStatus.CONVERGED if own else image.status)
    moved, timed = bool(np.any(freedom.offset > 0)), bool(np.any(fit.clock))
    return dataclasses.replace(
        image,
        certificate=certificate,
        status=status,
        noise_variance=fit.noise * given.unit,
        user_position=given.snapshots.user_position + fit.offset if moved else None,
        user_gain=fit.gain if freedom.phase or freedom.gain > 0 else None,
        user_clock=delay_of(fit.clock) if timed else None,
        model_error=max(0.0, fit.noise - (given.noise or 0.0)) / given.power
        if given.noise
        else 0.0,
    )


def _without_users(given: _Given, sheet: Sheet, voxels: Voxels) -> VoxelImage:
    """Make the image of magnitudes that is all there is while users' offsets are unknown."""
    grid, index = given.grid, voxels.index
    mean, variance = np.zeros(grid.voxels), np.zeros(grid.voxels)
    occupancy = np.full(grid.voxels, 1 / (1 + math.exp(-sheet.cost)))
    mean[index] = np.sqrt(voxels.power)
    variance[index] = voxels.power / np.maximum(voxels.user[:, 0].sum(0), 1)
    occupancy[index] = 1 / (1 + np.exp(-np.clip(voxels.log_odds, -30, 30)))
    views = np.concatenate([given.scene.user, given.scene.station])
    visibility = ~hidden_from(views, sheet.centre[index], sheet.centre, given.radius)
    visibility[:, index] = np.concatenate([voxels.user[:, 0], voxels.station])
    users = len(given.scene.user)
    unseen = np.array(~(visibility[:users].any(0) & visibility[users:].any(0)))
    unseen[index] = False
    stated = voxels.noise if given.noise is None else given.noise
    size = given.scene.channel.size
    certificate = Certificate(
        misfit=voxels.noise / stated,
        limit=limit_of(size),
        noise_known=given.noise is not None,
        least_log_odds=float(np.min(voxels.log_odds, initial=math.inf))
        if len(index)
        else -math.inf,
        explained=float(
            np.clip((given.power - voxels.noise) / max(given.power - stated, 1e-30), 0, 1)
        ),
        lowest=limit_of(size, -DEVIATIONS_BELOW),
        needed_log_odds=LEAST_LOG_ODDS,
    )
    return VoxelImage(
        grid=grid,
        mean=mean.reshape(grid.shape),
        variance=variance.reshape(grid.shape),
        occupancy=occupancy.reshape(grid.shape),
        unseen=unseen.reshape(grid.shape),
        visibility=visibility.reshape(-1, *grid.shape),
        noise_variance=voxels.noise * given.unit,
        iterations=len(index),
        status=certificate.judge(ImageStatus.CONVERGED),
        certificate=certificate,
        model_error=max(0.0, voxels.noise - stated) / given.power,
        frequency=float(given.scene.frequency.mean()),
    )
