"""The site: carrier, base stations with their arrays, bounds, scatterers, from one TOML file.

    carrier_frequency = 28e9        # Hz
    bandwidth = 400e6               # Hz
    mesh = "city.npz"               # optional, for drawing; beside this file

    [bounds]                        # of where users and targets can be, m
    lower = [-10.0, 47.0, 0.0]
    upper = [250.0, 307.0, 30.0]

    [[station]]
    name = "roof"
    position = [120.4, 222.4, 10.0] # m
    array = { rows = 8, columns = 8, azimuth_deg = -90.0, tilt_deg = 5.0 }

    [[scatterer]]
    position = [31.0, 80.0, 4.0]    # m
    cross_section = 10.0            # m^2

Degrees are allowed in this file alone, under names ending in ``_deg``; ``azimuth`` and ``tilt``
are radians.

Takes a file, or values.
Gives a `Site`, which propagation turns into paths.
"""

import json
import math
import os
import pathlib
from typing import Annotated

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float

from echoscape.checks import finite, positive, read_settings, unknown_name
from echoscape.scene.antenna import PlanarArray
from echoscape.scene.static_points import StaticPoints
from echoscape.units import wavelength_of


class Site(eqx.Module):
    """Everything that stays in place.  Axes: x and y horizontal, z up [m]."""

    carrier_frequency: float = eqx.field(static=True)
    """Carrier [Hz]."""
    bandwidth: float = eqx.field(static=True)
    """Bandwidth [Hz]."""
    station: tuple[str, ...] = eqx.field(static=True)
    """Names of the base stations."""
    station_position: Float[Array, "station 3"] = eqx.field(
        converter=finite("station_position", "m")
    )
    """Where they are [m]."""
    array: tuple[PlanarArray, ...] = eqx.field(static=True)
    """Their antennas."""
    bounds: Float[Array, "2 3"] = eqx.field(converter=finite("bounds", "m"))
    """Lowest and highest coordinates where users and targets can be [m]."""
    scatterer_position: Float[Array, "scatterer 3"] = eqx.field(
        converter=finite("scatterer_position", "m")
    )
    """Where the point scatterers are [m]."""
    scatterer_cross_section: Float[Array, " scatterer"] = eqx.field(
        converter=positive("scatterer_cross_section", "m^2")
    )
    """Their radar cross-sections, the same in all directions [m^2]."""
    mesh: str | None = eqx.field(default=None, static=True)
    """File of walls and ground for drawing."""

    def __check_init__(self):
        for name in ("carrier_frequency", "bandwidth"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and above zero, in Hz; got {value}")
        counts = {len(self.station), self.station_position.shape[0], len(self.array)}
        if len(counts) > 1 or not self.station:
            raise ValueError("a site needs one name, one position and one array for each station")
        if len(set(self.station)) < len(self.station):
            raise ValueError(f"names of stations must differ; got {', '.join(self.station)}")
        if self.scatterer_cross_section.shape[0] != self.scatterer_position.shape[0]:
            raise ValueError("a site needs one cross-section for each scatterer")

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier [m]."""
        return wavelength_of(self.carrier_frequency)

    def station_index(self, name: str) -> int:
        """Find a station by its name, or refuse with the nearest name."""
        if name not in self.station:
            raise unknown_name("station", name, self.station)
        return self.station.index(name)

    def static_points(self) -> StaticPoints:
        """Give the scatterers, with gains by the bistatic radar equation."""
        gain = self.wavelength**2 * np.asarray(self.scatterer_cross_section) / (4 * math.pi) ** 3
        position = np.asarray(self.scatterer_position, dtype=float)
        return StaticPoints.scatterers(
            position, log_gain=np.log(gain), origin=np.zeros(len(gain), int), provenance=("site",)
        )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> "Site":
        """Read a site from its file, or refuse it in one sentence."""
        path = pathlib.Path(path)
        file = read_settings(path, _SiteFile)
        return cls(
            carrier_frequency=file.carrier_frequency,
            bandwidth=file.bandwidth,
            station=tuple(station.name for station in file.station),
            station_position=jnp.array([station.position for station in file.station]),
            array=tuple(station.array.as_array() for station in file.station),
            bounds=jnp.array([file.bounds.lower, file.bounds.upper]),
            scatterer_position=jnp.array(
                [scatterer.position for scatterer in file.scatterer]
            ).reshape(-1, 3),
            scatterer_cross_section=jnp.array(
                [scatterer.cross_section for scatterer in file.scatterer]
            ),
            mesh=None if file.mesh is None else str(path.parent / file.mesh),
        )

    def to_toml(self) -> str:
        """Write the site as the text of a file that `from_toml` reads back."""
        lines = [
            f"carrier_frequency = {float(self.carrier_frequency)!r}",
            f"bandwidth = {float(self.bandwidth)!r}",
        ]
        if self.mesh is not None:
            lines.append(f"mesh = {json.dumps(self.mesh)}")
        lower, upper = self.bounds.tolist()
        lines += ["", "[bounds]", f"lower = {lower}", f"upper = {upper}"]
        positions = self.station_position.tolist()
        for name, position, array in zip(self.station, positions, self.array, strict=True):
            fields = ", ".join(f"{field} = {getattr(array, field)!r}" for field in _ARRAY_FIELDS)
            lines += ["", "[[station]]", f"name = {json.dumps(name)}", f"position = {position}"]
            lines += [f"array = {{ {fields} }}"]
        positions = self.scatterer_position.tolist()
        for position, section in zip(positions, self.scatterer_cross_section.tolist(), strict=True):
            lines += ["", "[[scatterer]]", f"position = {position}", f"cross_section = {section!r}"]
        return "\n".join(lines) + "\n"


_ARRAY_FIELDS = ("rows", "columns", "row_spacing", "column_spacing", "azimuth", "tilt")

_Number = Annotated[float, pydantic.Field(strict=True)]
_Position = tuple[_Number, _Number, _Number]


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _ArrayBlock(_Block):
    rows: int = pydantic.Field(default=1, ge=1, strict=True, description="elements upwards")
    columns: int = pydantic.Field(default=1, ge=1, strict=True, description="elements across")
    row_spacing: _Number = pydantic.Field(default=0.5, gt=0, description="in wavelengths")
    column_spacing: _Number = pydantic.Field(default=0.5, gt=0, description="in wavelengths")
    azimuth: _Number | None = pydantic.Field(
        default=None,
        ge=-2 * math.pi,
        le=2 * math.pi,
        description="in rad; azimuth_deg takes degrees",
    )
    azimuth_deg: _Number | None = pydantic.Field(
        default=None, ge=-360, le=360, description="in degrees"
    )
    tilt: _Number | None = pydantic.Field(
        default=None, ge=-math.pi / 2, le=math.pi / 2, description="in rad; tilt_deg takes degrees"
    )
    tilt_deg: _Number | None = pydantic.Field(default=None, ge=-90, le=90, description="in degrees")

    @pydantic.model_validator(mode="after")
    def _one_unit_each(self) -> "_ArrayBlock":
        for name in ("azimuth", "tilt"):
            if getattr(self, name) is not None and getattr(self, f"{name}_deg") is not None:
                raise ValueError(f"give {name} [rad] or {name}_deg [degree], not both")
        return self

    def as_array(self) -> PlanarArray:
        def radians(name: str) -> float:
            degrees = getattr(self, f"{name}_deg")
            return math.radians(degrees) if degrees is not None else getattr(self, name) or 0.0

        return PlanarArray(
            rows=self.rows,
            columns=self.columns,
            row_spacing=float(self.row_spacing),
            column_spacing=float(self.column_spacing),
            azimuth=float(radians("azimuth")),
            tilt=float(radians("tilt")),
        )


class _StationBlock(_Block):
    name: str = pydantic.Field(min_length=1, description="name of the station")
    position: _Position = pydantic.Field(description="x, y, z in m")
    array: _ArrayBlock = _ArrayBlock()


class _ScattererBlock(_Block):
    position: _Position = pydantic.Field(description="x, y, z in m")
    cross_section: _Number = pydantic.Field(default=1.0, gt=0, description="in m^2")


class _BoundsBlock(_Block):
    lower: _Position = pydantic.Field(description="lowest x, y, z in m")
    upper: _Position = pydantic.Field(description="highest x, y, z in m")

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> "_BoundsBlock":
        if any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"lower {self.lower} must not exceed upper {self.upper}, in m")
        return self


class _SiteFile(_Block):
    carrier_frequency: _Number = pydantic.Field(gt=0, description="in Hz")
    bandwidth: _Number = pydantic.Field(gt=0, description="in Hz")
    mesh: str | None = None
    bounds: _BoundsBlock
    station: tuple[_StationBlock, ...] = pydantic.Field(
        min_length=1, description="a [[station]] table for each base station"
    )
    scatterer: tuple[_ScattererBlock, ...] = ()

    @pydantic.model_validator(mode="after")
    def _names_differ(self) -> "_SiteFile":
        names = [station.name for station in self.station]
        if len(set(names)) < len(names):
            raise ValueError(f"names of stations must differ; got {', '.join(names)}")
        return self
