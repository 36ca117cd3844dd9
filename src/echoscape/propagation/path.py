"""Multipath components: the one type of the paths of a wave, true, measured or predicted.

A ray tracer knows a path's complex gain and where it bounced; a receiver estimates directions,
length and power with errors; a channel map predicts them with a covariance and a probability.  All
are sets of paths that share directions, lengths and one mask; what else is known fills the optional
fields.  In a one-way path, departure is at the base station and arrival at the user; in an echo
both are at a base station and the length is out and back.

Takes arrays with the paths on the last axis.
Gives `Paths`, the type that reports, channel maps and localization exchange.
"""

import dataclasses
import typing

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from echoscape.display import Plotted
from echoscape.propagation.path_ranges import check_paths
from echoscape.units import delay_of, length_of

if typing.TYPE_CHECKING:
    AnyArray = jax.Array | np.ndarray
    # A stage that needs an optional field says so at its door; inside it the field is an array.
    OptionalFloat = OptionalInt = OptionalComplex = OptionalBool = AnyArray
    OptionalPoint = OptionalMatrix = AnyArray
else:

    class _EitherArray(type):
        def __instancecheck__(cls, value):
            return isinstance(value, jax.Array | np.ndarray)

    class AnyArray(metaclass=_EitherArray):
        """An array of numpy or of JAX."""

    OptionalFloat = Float[AnyArray, "*batch path"] | None
    OptionalInt = Int[AnyArray, "*batch path"] | None
    OptionalBool = Bool[AnyArray, "*batch path"] | None
    OptionalComplex = Complex[AnyArray, "*batch path"] | None
    OptionalPoint = Float[AnyArray, "*batch path 3"] | None
    OptionalMatrix = Float[AnyArray, "*batch path 3 3"] | None


class Paths(Plotted, eqx.Module):
    """Sets of multipath components, padded to one length by `valid`.

    Optional fields are None where a stage does not know them.  Of estimates, a quantity that was
    not measured holds zero with an infinite standard deviation, so that its information is zero
    and no NaN is ever stored.
    """

    _: dataclasses.KW_ONLY
    departure_azimuth: Float[AnyArray, "*batch path"]
    """Azimuth at the base station, from +x counter-clockwise [rad]."""
    departure_zenith: Float[AnyArray, "*batch path"]
    """Angle from +z at the base station [rad]."""
    length: Float[AnyArray, "*batch path"]
    """Length, absolute, never normalised: one-way, or out and back in an echo [m]."""
    valid: OptionalBool = eqx.field(default=None)
    """False for padding; where not given, true for every path of a probability above zero."""
    power: OptionalFloat = eqx.field(default=None)
    """Power gain, received over transmitted, linear; of `gain` where only that is given [1]."""
    arrival_azimuth: OptionalFloat = eqx.field(default=None)
    """Azimuth at the receiving end, looking back along the path [rad]."""
    arrival_zenith: OptionalFloat = eqx.field(default=None)
    """Angle from +z at the receiving end [rad]."""
    departure_azimuth_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of `departure_azimuth` [rad]."""
    departure_zenith_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of `departure_zenith` [rad]; infinite where not measured."""
    arrival_azimuth_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of `arrival_azimuth` [rad]; infinite where not measured."""
    arrival_zenith_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of `arrival_zenith` [rad]; infinite where not measured."""
    length_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of `length` [m]; infinite where not measured."""
    covariance: OptionalMatrix = eqx.field(default=None)
    """Covariance of a prediction's (azimuth, zenith, length) [rad^2, rad^2, m^2]."""
    log_power_std: OptionalFloat = eqx.field(default=None)
    """Standard deviation of the natural logarithm of `power` [1]."""
    probability: OptionalFloat = eqx.field(default=None)
    """Probability that the path exists and is among the strongest that a receiver reports [1]."""
    gain: OptionalComplex = eqx.field(default=None)
    """Amplitude between isotropic antennas, carrier phase ``exp(-j 2 pi length / wavelength)``
    included [1]."""
    doppler: OptionalFloat = eqx.field(default=None)
    """Shift of the carrier; zero while nothing moves [Hz]."""
    bounces: OptionalInt = eqx.field(default=None)
    """Interactions on the way; 0 is line of sight."""
    first_bounce: OptionalPoint = eqx.field(default=None)
    """First interaction; for line of sight the second end [m]."""
    last_bounce: OptionalPoint = eqx.field(default=None)
    """Last interaction; for line of sight the first end [m]."""
    identity: OptionalInt = eqx.field(default=None)
    """Same number, same physical path at another place: the scatterer's index, -1 for line of
    sight, and for the pair (i, j) of a cascade ``i * paths + j``."""

    def __post_init__(self):
        if self.valid is None:
            every = np.ones(np.shape(self.length), bool)
            self.valid = every if self.probability is None else self.probability > 0.0
        if self.power is None and self.gain is not None:
            self.power = power_of(self.gain, self.valid)

    def __check_init__(self):
        check_paths(self)

    @classmethod
    def from_delays(cls, *, delay, delay_std=None, **columns) -> "Paths":
        """Make paths of columns that hold delays [s], as files and samples do.

        Args:
            delay: Delays [s].
            delay_std: Their standard deviations [s].
            columns: All other fields.
        """
        if delay_std is not None:
            columns["length_std"] = length_of(delay_std)
        return cls(length=length_of(delay), **columns)

    @property
    def delay(self) -> Float[AnyArray, "*batch path"]:
        """The length as a delay, for the edges; derived, so not to be written to [s]."""
        return _read_only(delay_of(self.length))

    @property
    def delay_std(self) -> Float[AnyArray, "*batch path"]:
        """The standard deviation of `delay` [s]."""
        return _read_only(delay_of(self.length_std))

    def with_gain(self, gain: OptionalComplex) -> "Paths":
        """Replace the gains, and the powers with them."""
        return eqx.tree_at(
            lambda paths: (paths.gain, paths.power), self, (gain, power_of(gain, self.valid))
        )

    def __getitem__(self, index) -> "Paths":
        """Index the batch axes of every field; of a single set, its paths."""
        return jax.tree.map(lambda leaf: leaf[index], self)


def _read_only(values: AnyArray) -> AnyArray:
    if isinstance(values, np.ndarray):
        values.flags.writeable = False
    return values


def power_of(gain: OptionalComplex, valid: Bool[AnyArray, "*batch path"]) -> OptionalFloat:
    """Give the power gain of complex amplitudes, zero for padding [1]."""
    return jnp.where(valid, jnp.abs(gain) ** 2, 0.0)


def strongest(paths: Paths, count: int) -> Paths:
    """Keep one set's ``count`` strongest paths in falling power, padded if there are fewer."""
    order = jnp.argsort(jnp.where(paths.valid, -paths.power, jnp.inf))[:count]
    kept = paths[order]
    missing = count - order.shape[0]
    if missing <= 0:
        return kept
    return jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, jnp.zeros((missing, *leaf.shape[1:]), leaf.dtype)]),
        kept,
    )
