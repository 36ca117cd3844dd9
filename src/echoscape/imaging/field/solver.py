"""The solver for the field: link-free, wideband, points off the grid, users refined with them.

Takes `Snapshots` of several subcarriers and a grid.
Gives a `VoxelImage` with positions of points, their covariances, and refined users.
"""

import math

import numpy as np

from echoscape.checks import InputError
from echoscape.imaging.field.links import Nuisance, Scene, factors_of
from echoscape.imaging.field.places import Places, prior_open
from echoscape.imaging.field.refine import Priors
from echoscape.imaging.field.search import Cloud, Settings, empty, neighbours, part_of, search
from echoscape.imaging.problem import estimate_channels
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.solver import Solver, limit_of
from echoscape.imaging.voxel_image import Certificate, ImageStatus, VoxelImage
from echoscape.progress import Progress, within
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.units import delay_of, length_of

LEAST_LOG_ODDS = 100.0
"""A certified image has no point of smaller log-odds: where the model is wrong, points that are
not there reach tens (tuned with `LARGEST_MODEL_ERROR` on worlds of their own)."""
LEAST_REPEAT = 0.15
"""Path lengths repeat after c over the spacing of subcarriers.  Ten users and four stations resolve
repeats after a fifth of the region (F1 0.9), after a tenth no more (0.2)."""
RESTART_SHARE = 0.6
"""Share of the points that a restart keeps."""
LARGEST_CELL = 2.0
"""A certified image has a band whose resolution, c over twice its width, is at most this many edges
of a voxel: two scatterers within a cell pass for one, and everything is explained by it."""
LARGEST_MODEL_ERROR = 1e-3
"""A certified image leaves the noise within this share of the received power."""


class NoncoherentPoints(Solver):
    """Wideband, phases unknown, points off the grid, users' positions and clocks refined."""

    occupied_share: float = 0.02
    """Share of voxels taken to be occupied before anything is seen."""
    margin: float = 6.0
    """Log-odds that a point must bring beyond its prior, for its position was chosen to fit."""
    points: int = 400
    """The most points."""
    steps: int = 3
    """Gauss-Newton steps after every addition; one only is too few for users off by decimetres."""
    together: int = 5
    """The most points added at once, each at least half as probable as the best."""
    least_share: float = 0.005
    """Share of the highest log-odds that a point must reach: waves by way of a mirror or of two
    points that are 20 dB weaker make points of a third of a per cent."""
    restarts: int = 6
    """Restarts while the misfit is too large: from no point, with users where they were found, then
    from random parts of the best."""
    neighbour: float = 0.0
    """Log-odds that each occupied neighbour across a face adds, three of them at most: a Markov
    prior for bodies.  Above zero scatterers stay at the centres of their voxels, need no margin,
    and beside another one no least share; two suits boxes and walls."""
    least_noise: float = 0.1
    """The noise is learnt from the residual, but never below this share of the stated one."""

    def __check_init__(self):
        for name in ("points", "steps", "together"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least one; got {getattr(self, name)}")
        if not (0 <= self.neighbour < 100):
            raise ValueError(f"neighbour must lie between 0 and 100; got {self.neighbour}")
        if not 0 <= self.least_share < 1:
            raise ValueError(f"least_share must lie between 0 and 1; got {self.least_share}")
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
            InputError: There are fewer than two subcarriers, or they are too far apart for the
                region: delays repeat within it.
        """
        del is_complex  # coefficients are magnitudes: the phases are free
        _check_band(snapshots, grid)
        radius = 0.5 * grid.edge if radius is None else radius
        if not (radius > 0 and math.isfinite(radius)):
            raise InputError(
                f"the occlusion radius must be finite and above zero, in m; got {radius:g}"
            )
        scene, unit, noise = make_scene(snapshots, grid)
        power = float(np.mean(np.abs(scene.channel) ** 2))
        settings = Settings(
            edge=grid.edge,
            radius=radius,
            rate=self.occupied_share,
            margin=0.0 if self.neighbour else self.margin,
            points=self.points,
            steps=self.steps,
            together=self.together,
            floor=1e-6 * power if noise is None else self.least_noise * noise,
            least_share=self.least_share,
            neighbour=self.neighbour,
        )
        priors = Priors(0.0 if self.neighbour else 0.35 * grid.edge, *snapshots.deviations())
        places = Places(scene, grid, 1 if self.neighbour else 2)
        every = self.restarts + 1
        tell = within(progress, f"search 1 of {every} at most")
        tell(0, self.points, "compiling")
        best = search(scene, empty(scene), places, settings, priors, tell)
        generator, enough = np.random.default_rng(0), limit_of(scene.channel.size, 3.0)
        for number in range(self.restarts):
            tell = within(progress, f"search {number + 2} of {every} at most")
            if noise is not None and best.noise.mean() < enough * noise:
                break
            if number == 0 or len(best.point) < 2:
                start = empty(scene, best.nuisance)
            else:
                start = part_of(best, RESTART_SHARE, generator)
            again = search(scene, start, places, settings, priors, tell)
            best = again if again.score > best.score else best
        if progress is not None:
            progress(every, every, "weighing points")
        return assemble_points(self, scene, best, places, settings, snapshots, unit, noise)


def _check_band(snapshots: Snapshots, grid: VoxelGrid) -> None:
    count = len(snapshots.frequency)
    if count < 2:
        raise InputError(
            "images without phases need at least two subcarriers, better eight over several "
            f"hundred MHz, to tell places by delay; got {count}: choose another solver"
        )
    spacing = float(np.min(np.diff(np.sort(snapshots.frequency))))
    if not spacing > 0:
        raise InputError("subcarriers must differ in frequency; two are the same")
    repeat, across = length_of(1.0 / spacing), grid.edge * float(np.linalg.norm(grid.shape))
    if repeat < LEAST_REPEAT * across:
        raise InputError(
            f"subcarriers {1e-6 * spacing:g} MHz apart let path lengths repeat after {repeat:.3g} "
            f"m, which many views cannot tell apart in a region {across:.3g} m across: use closer "
            "subcarriers or a smaller region"
        )


def make_scene(snapshots: Snapshots, grid: VoxelGrid) -> tuple[Scene, float, float | None]:
    """Undo the pilots and scale channels so that a column of the region has elements of size one.

    Returns:
        The scene, what a power of one is in a received sample, and the stated noise if any.
    """
    channel, energy, outside = estimate_channels(snapshots)
    amplitude = np.sqrt(energy / energy.mean())
    raw = Scene(
        channel * amplitude[:, None, None],
        snapshots.frequency,
        snapshots.user_position,
        snapshots.antenna_position,
        amplitude,
    )
    some = grid.centre_of(np.linspace(0, grid.voxels - 1, min(grid.voxels, 500)).astype(int))
    users = len(amplitude)
    still = Nuisance(np.zeros((users, 3)), np.zeros(users))
    factors = factors_of(raw, still, some)
    power = float(np.mean(np.abs(factors.user) ** 2) * np.mean(np.abs(factors.antenna) ** 2))
    scale = math.sqrt(power)
    scene = raw._replace(channel=raw.channel / scale, amplitude=amplitude / scale)
    stated = snapshots.noise_variance if snapshots.noise_variance is not None else outside
    unit = power * float(energy.mean())
    return scene, unit, None if stated is None else stated / unit


def assemble_points(
    solver: NoncoherentPoints,
    scene: Scene,
    cloud: Cloud,
    places: Places,
    settings: Settings,
    snapshots: Snapshots,
    unit: float,
    noise: float | None,
) -> VoxelImage:
    """Put points on the grid, with their certificate."""
    grid, users = places.grid, len(scene.user)
    voxel = grid.index_of(cloud.point)
    size = np.sqrt(np.maximum(cloud.power, 0))
    mean, variance, occupancy = (np.zeros(grid.voxels) for _ in range(3))
    occupancy += settings.rate
    open_links = np.maximum(cloud.is_open.sum((0, 1)), 1)
    np.maximum.at(mean, voxel, size)
    variance[voxel] = cloud.power / open_links
    certain = 1 / (1 + np.exp(-np.clip(cloud.log_odds, -30, 30)))
    np.maximum.at(occupancy, voxel, certain)
    centre = grid.centres()
    free = prior_open(scene, cloud.nuisance, cloud.point, centre, settings.radius)
    seen_user, seen_station = free.user > 0.5, free.station > 0.5
    seen_user[:, voxel], seen_station[:, voxel] = cloud.is_open.any(1), cloud.is_open.any(0)
    unseen = np.array(~(seen_user.any(0) & seen_station.any(0)))
    unseen[voxel] = False
    if settings.neighbour:  # nothing but the prior speaks of insides that nobody sees
        hidden = np.flatnonzero(unseen)
        beside = settings.neighbour * neighbours(centre[hidden], cloud.point, grid.edge)
        odds = settings.rate / (1 - settings.rate) * np.exp(beside)
        occupancy[hidden] = np.maximum(occupancy[hidden], odds / (1 + odds))
    learnt, power = float(cloud.noise.mean()), float(np.mean(np.abs(scene.channel) ** 2))
    stated = learnt if noise is None else noise
    residual = cloud.links.residual.sum() if cloud.links is not None else power * scene.channel.size
    alone = np.ones(len(cloud.point), bool)
    if settings.neighbour:  # what stands beside another is sure by that
        alone = neighbours(cloud.point, cloud.point, grid.edge) == 0
    least = float(np.min(cloud.log_odds[alone], initial=math.inf)) if len(alone) else -math.inf
    span = 3 * len(cloud.point)
    covariance = np.zeros((len(cloud.point), 3, 3))
    if settings.neighbour:
        covariance += grid.edge**2 / 12 * np.eye(3)
    elif cloud.covariance is not None and len(cloud.covariance) == span + 4 * users:
        whole = cloud.covariance[:span, :span].reshape(-1, 3, len(cloud.point), 3)
        covariance = np.einsum("iaib->iab", whole)
    band = float(np.ptp(scene.frequency)) * len(scene.frequency) / (len(scene.frequency) - 1)
    resolved = length_of(0.5 / band) <= LARGEST_CELL * grid.edge
    full = len(cloud.point) >= settings.points
    ended = ImageStatus.ITERATION_LIMIT if full else ImageStatus.CONVERGED
    certificate = Certificate(
        misfit=learnt / stated,
        limit=max(limit_of(scene.channel.size), 1 + LARGEST_MODEL_ERROR * power / stated),
        noise_known=noise is not None,
        least_log_odds=least,
        explained=float(np.clip(1 - residual / (power * scene.channel.size), 0, 1)),
        lowest=min(0.5, 1 - LARGEST_MODEL_ERROR * power / stated),
        needed_log_odds=LEAST_LOG_ODDS if resolved else math.inf,
        converged=not full,
    )
    return VoxelImage(
        grid=grid,
        mean=mean.reshape(grid.shape),
        variance=variance.reshape(grid.shape),
        occupancy=occupancy.reshape(grid.shape),
        unseen=unseen.reshape(grid.shape),
        visibility=np.concatenate([seen_user, seen_station]).reshape(-1, *grid.shape),
        noise_variance=learnt * unit,
        iterations=len(cloud.point),
        status=certificate.judge(ended),
        certificate=certificate,
        settings=solver.settings(),
        point_position=cloud.point,
        point_covariance=covariance,
        point_coefficient=size,
        user_position=scene.user + cloud.nuisance.offset,
        user_clock=delay_of(cloud.nuisance.clock),
        model_error=max(0.0, learnt - (noise or 0.0)) / power,
        frequency=float(snapshots.frequency.mean()),
    )
