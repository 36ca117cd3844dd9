"""Targets from files: their ways as a table, their types by name or from a settings file.

Takes a table with x, y, z and, where they have them, target, time, velocity, heading and type; a
TOML file of types; a table of cross-sections.
Gives `Target`s by number.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pydantic

from echoscape.channel_model.cross_section import CrossSection, tabulated_section
from echoscape.channel_model.target import Target, make_target
from echoscape.channel_model.target_types import TYPE_NAMES, TargetType, target_type
from echoscape.checks import InputError, read_settings, unknown_name
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.reports.schema import POSITION, Column, Schema

_VELOCITY = ("vx", "vy", "vz")
ROUTES = Schema(
    "targets",
    "",
    (
        Column("target", "integer", ""),
        Column("time", "number", "[s]"),
        *(Column(name, "number", "[m]", True) for name in POSITION),
        *(Column(name, "number", "[m/s]") for name in _VELOCITY),
        Column("heading", "number", "[rad]"),
        Column("type", "text", ""),
    ),
    others=("user", "followed", "positions over time"),
)
_SECTIONS = Schema(
    "cross-sections",
    "",
    (
        Column("azimuth", "number", "[rad]", True),
        Column("zenith", "number", "[rad]", True),
        Column("cross_section", "number", "[m^2]", True),
    ),
)


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Turning(_Block):
    radius: float = pydantic.Field(gt=0, description="in m")
    rate: float = pydantic.Field(description="in turns a second")
    phase_deg: float = pydantic.Field(default=0.0, description="in degrees")


class _Swinging(_Block):
    amplitude: float = pydantic.Field(gt=0, description="in m")
    rate: float = pydantic.Field(gt=0, description="in Hz")
    phase_deg: float = pydantic.Field(default=0.0, description="in degrees")


class _PointBlock(_Block):
    position: tuple[float, float, float] = pydantic.Field(
        default=(0.0, 0.0, 0.0), description="ahead, left and up of the target's centre in m"
    )
    model: str = pydantic.Field(default="constant", description="name of a one-point target type")
    cross_section: float | None = pydantic.Field(default=None, gt=0, description="in m^2")
    table: str | None = pydantic.Field(
        default=None, description="file of azimuth [rad], zenith [rad] and cross_section [m^2]"
    )
    spin: _Turning | None = None
    swing: _Swinging | None = None


class _TypeBlock(_Block):
    name: str = pydantic.Field(min_length=1, description="name of the type")
    point: tuple[_PointBlock, ...] = pydantic.Field(
        min_length=1, description="a [[type.point]] table for each scattering point"
    )


class _TypeFile(_Block):
    type: tuple[_TypeBlock, ...] = pydantic.Field(
        min_length=1, description="a [[type]] table for each type"
    )


def read_types(path: str | Path) -> dict[str, TargetType]:
    """Read the types of a settings file.

    Args:
        path: TOML file with a table ``[[type]]`` for each type, and in it one ``[[type.point]]``
            for each scattering point.

    Raises:
        InputError: The file cannot be used, or a table of cross-sections has no number somewhere.
    """
    path = Path(path)
    file = read_settings(path, _TypeFile)
    return {block.name: _type(block, path) for block in file.type}


def _type(block: _TypeBlock, path: Path) -> TargetType:
    sections: list[CrossSection] = []
    for point in block.point:
        given = [point.model != "constant", point.cross_section is not None, bool(point.table)]
        if sum(given) != 1:
            raise InputError(
                f"{path}: each point of {block.name} needs one of model, cross_section [m^2] and "
                f"table; got {sum(given)} of them"
            )
        if point.table:
            sections.append(read_sections(path.parent / point.table))
            continue
        kind = target_type(point.model, point.cross_section or 1.0)
        if len(kind.section) > 1:
            raise InputError(f"{path}: model {point.model!r} has several points of its own already")
        sections.extend(kind.section)

    def motion(which: str, size: str) -> jnp.ndarray | None:
        rows = []
        for point in block.point:
            part = getattr(point, which)
            turn = (0.0, 0.0, 0.0)
            if part is not None:
                turn = (getattr(part, size), part.rate, math.radians(part.phase_deg))
            rows.append(turn)
        return jnp.asarray(rows, float) if np.any(rows) else None

    position = jnp.asarray([point.position for point in block.point], float)
    spin, swing = motion("spin", "radius"), motion("swing", "amplitude")
    return TargetType(position, tuple(sections), spin=spin, swing=swing)


def read_sections(path: str | Path) -> CrossSection:
    """Read monostatic cross-sections over azimuth and zenith in the target's own axes."""
    columns = Columns(read_table(path, _SECTIONS), _SECTIONS, str(path))
    values = [columns.values(c.name) for c in _SECTIONS.columns]
    return tabulated_section(*values, source=str(path))


def read_routes(
    path: str | Path, type: str, known: Mapping[str, TargetType], cross_section: float = 10.0
) -> dict[int, Target]:
    """Read the ways of targets.

    Args:
        path: Table; without times each target has one row and stands still.
        type: Type of the targets whose cell says none.
        known: Types beside those of `target_type`, by name.
        cross_section: Of the type ``constant`` [m^2].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used, a target is at two places at once, or a type is
            unknown.
    """
    table = read_table(path, ROUTES)
    columns = Columns(table, ROUTES, str(path))
    count = len(table)
    number = columns.integer("target") if columns.has("target") else np.zeros(count, int)
    if not columns.has("target") and not columns.has("time"):
        number = np.arange(count)
    time = columns.finite("time") if columns.has("time") else np.zeros(count)
    place = np.stack([columns.finite(name) for name in POSITION], axis=1)
    velocity = heading = None
    if all(columns.has(name) for name in _VELOCITY):
        velocity = np.stack([columns.finite(name) for name in _VELOCITY], axis=1)
    if columns.has("heading"):
        heading = columns.finite("heading")
    names = np.full(count, type, object)
    if columns.has("type"):
        said = table["type"].cast(pa.string()).to_pylist()
        names = np.array([name or type for name in said], object)
    found = {}
    for each in np.unique(number):
        rows = np.flatnonzero(number == each)
        rows = rows[np.argsort(time[rows], kind="stable")]
        same = np.flatnonzero(np.diff(time[rows]) <= 0)
        if len(same):
            raise InputError(
                f"{path} has two places of target {each} at time {time[rows[same[0]]]:g} s; leave "
                "one for each instant, or number targets apart in the column target"
            )
        kinds = set(names[rows])
        if len(kinds) > 1:
            raise InputError(f"{path}: target {each} has several types, {', '.join(sorted(kinds))}")
        found[int(each)] = make_target(
            time[rows], place[rows], _named(kinds.pop(), known, cross_section),
            velocity=None if velocity is None else velocity[rows],
            heading=None if heading is None else heading[rows],
        )  # fmt: skip
    return found


def _named(name: str, known: Mapping[str, TargetType], cross_section: float) -> TargetType:
    if name in known:
        return known[name]
    if name not in TYPE_NAMES:
        raise unknown_name("target type", name, [*TYPE_NAMES, *known])
    return target_type(name, cross_section)
