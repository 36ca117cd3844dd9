"""Gains and offsets of users from what is occupied: a lattice of offsets, then Gauss-Newton.

With the occupied voxels and each user's coefficients there known, the offset of a user turns these
like the phases of an array with one element at every voxel: a beam is steered over the offsets that
are possible.  Gains, offsets, clocks and the voxels' coefficients are then fitted together.

Takes channels, the occupied voxels, which segments are open, and how far each user may be off.
Gives a `Fit`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact

from echoscape.imaging.field.links import Scene
from echoscape.units import wavelength_of, wavenumber_of

LATTICE = 0.2
"""Distance between offsets tried [wavelengths]: a beam that misses by half of it along each axis
loses a decibel at most."""
DEVIATIONS = 3.0
"""Offsets up to so many deviations are tried."""
WIDEST = 48
"""Steps of the lattice to each side of nothing, at most: a deviation of 3.2 wavelengths."""


class Freedom(NamedTuple):
    """How far users may be from what is stated; zero keeps it."""

    offset: Float[np.ndarray, " user"]
    """Standard deviation of each coordinate [m]."""
    clock: Float[np.ndarray, " user"]
    """Standard deviation of the clock, as a length [m]."""
    gain: float
    """Standard deviation of the logarithm of a user's gain [1]."""
    phase: bool
    """Whether users have phases of their own."""


class Occupied(NamedTuple):
    """What stands where, and who sees it."""

    place: Float[np.ndarray, "point 3"]
    user: Bool[np.ndarray, "user point"]
    station: Bool[np.ndarray, "station point"]


class Fit(NamedTuple):
    """Users as fitted, with the coefficients that go with them."""

    gain: Complex[np.ndarray, " user"]
    offset: Float[np.ndarray, "user 3"]
    """[m]."""
    clock: Float[np.ndarray, " user"]
    """As a length [m]."""
    value: Inexact[np.ndarray, " point"]
    """Coefficients of the voxels [1]."""
    noise: float
    """Mean squared residual per free sample."""
    deviation: Float[np.ndarray, " user"]
    """Largest standard deviation of a coordinate of each user [m]."""
    left: Float[np.ndarray, " user"]
    """Mean squared residual of each user."""


def start(users: int, points: int) -> Fit:
    """Begin with what is stated."""
    zero = np.zeros(users)
    return Fit(
        np.ones(users, complex), np.zeros((users, 3)), zero, np.ones(points), np.inf, zero, zero
    )


def steer(
    scene: Scene,
    occupied: Occupied,
    link: Complex[np.ndarray, "user subcarrier point"],
    weight: Float[np.ndarray, "user subcarrier point"],
    value: Inexact[np.ndarray, " point"],
    freedom: Freedom,
) -> tuple[Complex[np.ndarray, " user"], Float[np.ndarray, "user 3"]]:
    """Find each user's phase and offset by the sum of all its coefficients, phases turned back.

    Args:
        scene: With the stated positions.
        occupied: What stands where.
        link: Coefficients of each user at each point, relative to free-space amplitudes.
        weight: Their precisions; zero where the segment is closed.
        value: Coefficients of the points.
        freedom: How far users may be off.

    Returns:
        Gains of size one, and offsets [m].
    """
    users = len(scene.user)
    gain, offset = np.ones(users, complex), np.zeros((users, 3))
    wavelength = float(wavelength_of(scene.frequency.mean()))
    tone = wavenumber_of(scene.frequency)[:, None]
    for k in range(users):
        ray = occupied.place - scene.user[k]
        length = np.linalg.norm(ray, axis=1)
        towards = ray / length[:, None]
        # A voxel's channel at the offset d turns by exp(+j 2 pi towards . d / wavelength).
        term = weight[k] * np.conj(link[k]) * value * np.exp(-2j * np.pi * tone * length)
        term = np.sum(term, 0)
        reach = min(int(np.ceil(DEVIATIONS * freedom.offset[k] / (LATTICE * wavelength))), WIDEST)
        axis = np.arange(-reach, reach + 1) * LATTICE * wavelength
        turn = np.exp(
            2j * np.pi / wavelength * axis[:, None, None] * towards.T[None]
        )  # [step, axis, point]
        flat = (turn[:, None, 0] * turn[None, :, 1] * term).reshape(-1, len(term))
        beam = (flat @ turn[:, 2].T).reshape(len(axis), len(axis), len(axis))
        size = np.abs(beam) if freedom.phase else np.real(beam)
        score = 2 * size
        if reach:
            far = axis**2 / (2 * freedom.offset[k] ** 2)
            score = score - far[:, None, None] - far[None, :, None] - far
        best = np.unravel_index(np.argmax(score), score.shape)
        offset[k] = axis[list(best)]
        if freedom.phase:
            gain[k] = np.exp(-1j * np.angle(beam[best]))
    return gain, offset


def _parts(scene: Scene, occupied: Occupied, fit: Fit):
    """Make users' channels to the points, and directions, with the fit's offsets and clocks."""
    ray = occupied.place - (scene.user + fit.offset)[:, None]
    length = np.linalg.norm(ray, axis=-1)
    wavelength = wavelength_of(scene.frequency)[:, None, None]
    middle = scene.frequency.mean()
    size = scene.amplitude[:, None] * wavelength / (4 * np.pi * np.maximum(length, wavelength))
    turn = wavenumber_of(scene.frequency)[:, None, None] * length
    turn = turn + wavenumber_of(scene.frequency - middle)[:, None, None] * fit.clock[:, None]
    channel = fit.gain[:, None] * size * np.exp(-2j * np.pi * turn) * occupied.user
    return channel, ray / length[..., None]


def refine(
    scene: Scene,
    occupied: Occupied,
    antenna: Complex[np.ndarray, "subcarrier station antenna point"],
    first: Fit,
    freedom: Freedom,
    noise: float,
    weight: Float[np.ndarray, " user"],
    steps: int = 30,
) -> Fit:
    """Fit gains, offsets, clocks and coefficients together: Levenberg-Marquardt with priors.

    Args:
        scene: What was received.
        occupied: What stands where, and who sees it.
        antenna: Channels from the points to the antennas.
        first: Where to start; its coefficients are not used.
        freedom: Priors.
        noise: Mean squared noise of a sample, which weighs the samples against the priors.
        weight: One, or nearly zero for users that are not to count; they stay where they are.
        steps: The most steps.
    """
    given = scene
    scene = scene._replace(
        channel=scene.channel * weight[:, None, None], amplitude=scene.amplitude * weight
    )
    tones, users, stations, antennas = scene.channel.shape
    points = len(occupied.place)
    seen = antenna * occupied.station[None, :, None]
    columns = seen.reshape(tones, -1, points)
    data = scene.channel.reshape(tones, users, -1)
    is_complex = np.iscomplexobj(first.value)
    tone = wavenumber_of(scene.frequency)
    band = wavenumber_of(scene.frequency - scene.frequency.mean())
    spread = np.concatenate([
        np.full(users, freedom.gain),
        np.full(users, 1e3 if freedom.phase else 0.0),
        np.repeat(freedom.offset, 3),
        freedom.clock if tones > 1 else np.zeros(users),
    ])  # fmt: skip
    counts = weight == 1.0
    of_user = np.concatenate([counts, counts, np.repeat(counts, 3), counts])
    free = np.flatnonzero((spread > 0) & of_user)
    inverse = 1 / spread[free] ** 2

    def whole(fit):
        """Make the columns of all points, [user, tone sample, point]."""
        channel, towards = _parts(scene, occupied, fit)
        model = np.moveaxis(channel[:, :, None] * columns[:, None], 0, 1)
        return model.reshape(users, -1, points), towards

    def solved(fit):
        """Coefficients by least squares; they are linear."""
        model, towards = whole(fit)
        flat, right = model.reshape(-1, points), np.moveaxis(data, 0, 1).reshape(-1)
        gram, towards_data = np.conj(flat.T) @ flat, np.conj(flat.T) @ right
        if not is_complex:
            gram, towards_data = gram.real, towards_data.real
        ridge = 1e-6 * np.real(np.trace(gram)) / max(points, 1) * np.eye(points)
        value = np.linalg.solve(gram + ridge, towards_data)
        return fit._replace(value=value), model, towards

    def away(fit):
        size = np.log(np.abs(fit.gain))
        values = [size, np.zeros(users), fit.offset.ravel(), fit.clock]
        return np.concatenate(values)[free]

    def cost_of(fit, model):
        left = np.moveaxis(data, 0, 1).reshape(users, -1) - model @ fit.value
        return left, np.sum(np.abs(left) ** 2) / noise + 0.5 * np.sum(inverse * away(fit) ** 2)

    fit, model, towards = solved(first)
    left, cost = cost_of(fit, model)
    damping, hessian = 1e-3, np.zeros((len(free),) * 2)
    for _ in range(steps if len(free) else 0):
        part = model * fit.value  # [user, sample, point]
        total = np.sum(part, -1)
        along = np.repeat(tone, stations * antennas)
        by_offset = 2j * np.pi * along[:, None] * (part @ towards)
        by_clock = -2j * np.pi * np.repeat(band, stations * antennas) * total
        own = np.stack([total, 1j * total, *np.moveaxis(by_offset, -1, 0), by_clock], -1)
        # Variable projection after Kaufman: what the coefficients can take is no evidence.
        jacobian = np.zeros((users, own.shape[1], 6 * users), complex)
        each = np.arange(users)[:, None]
        along_axes = 2 * users + np.arange(3 * users).reshape(users, 3)
        place = np.concatenate([each, users + each, along_axes, 5 * users + each], 1)
        for k in range(users):
            jacobian[k][:, place[k]] = own[k]
        jacobian = jacobian.reshape(-1, 6 * users)[:, free]

        def real(matrix):
            return np.concatenate([matrix.real, matrix.imag])

        flat = model.reshape(-1, points)
        linear = real(flat)
        if is_complex:
            linear = np.concatenate([linear, real(1j * flat)], 1)
        basis = np.linalg.qr(linear[:, np.any(linear != 0, 0)])[0]
        slope = real(jacobian)
        slope = slope - basis @ (basis.T @ slope)
        # Twice over the noise for a complex sample, as the cost counts.
        hessian = 2 / noise * slope.T @ slope + np.diag(inverse)
        gradient = 2 / noise * slope.T @ real(left.reshape(-1)) - inverse * away(fit)
        for _ in range(8):
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            full = np.zeros(6 * users)
            full[free] = step
            moved = fit._replace(
                gain=fit.gain * np.exp(np.clip(full[:users], -1, 1) + 1j * full[users : 2 * users]),
                offset=fit.offset + full[2 * users : 5 * users].reshape(users, 3),
                clock=fit.clock + full[5 * users :],
            )
            moved, new_model, new_towards = solved(moved)
            new_left, new_cost = cost_of(moved, new_model)
            if new_cost < cost:
                break
            damping *= 10
        else:
            break
        gain = cost - new_cost
        fit, model, towards, left, cost = moved, new_model, new_towards, new_left, new_cost
        damping = max(damping / 10, 1e-9)
        if gain < 1e-2:
            break
    fitted = points * (1.0 if is_complex else 0.5) + 0.5 * len(free) * weight.mean()
    counted = scene.channel.size * weight.mean()
    deviation = np.zeros(6 * users)
    if len(free):
        deviation[free] = np.sqrt(np.diag(np.linalg.inv(hessian)))
    squares = (
        np.abs(
            np.moveaxis(given.channel, 0, 1).reshape(users, -1)
            - model @ fit.value / weight[:, None]
        )
        ** 2
    )
    return fit._replace(
        noise=float(np.sum(np.abs(left) ** 2) / max(counted - fitted, 0.1 * counted)),
        deviation=deviation[2 * users : 5 * users].reshape(users, 3).max(1),
        left=squares.mean(1),
    )
