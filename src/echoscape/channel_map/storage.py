"""Maps on disk: safetensors for the numbers, a readable manifest for everything else.

A folder holds the maps of one or several stations:

    manifest.json                 format version, kinds, stations, settings, seed, scores, hashes
    arrays-<hash>.safetensors     every array of every map, under its path in the map

A folder is replaced in one step, so a reader finds either the old maps or the new ones, whole,
whenever the writer dies; manifest and arrays carry checksums, and what they describe must fit.
Nothing in a folder is ever executed: a map is rebuilt from the classes registered here, by name.

Takes fitted maps.
Gives a folder, and the maps again.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from safetensors import SafetensorError
from safetensors.numpy import load, save

import echoscape
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.stored_fields import wrong_field
from echoscape.checks import InputError, unknown_name
from echoscape.files import atomic_folder, check_input, check_size
from echoscape.reports import Reports
from echoscape.scene import StaticPoints

FORMAT = "echoscape channel map"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
MANIFEST = "manifest.json"

_Class = TypeVar("_Class", bound=type)
_REGISTERED: dict[str, type] = {"static-points": StaticPoints}
_UPGRADES: dict[str, Callable[[dict[str, Any]], Any]] = {}


def storable(kind: str) -> Callable[[_Class], _Class]:
    """Register a module's class under the name it has in a manifest."""

    def register(cls: _Class) -> _Class:
        _REGISTERED[kind] = cls
        return cls

    return register


def upgraded(kind: str) -> Callable[[Callable], Callable]:
    """Register a function that turns the fields of an old kind into what replaces it."""

    def register(upgrade: Callable[[dict[str, Any]], Any]) -> Callable:
        _UPGRADES[kind] = upgrade
        return upgrade

    return register


class Manifest(pydantic.BaseModel, extra="forbid", frozen=True):
    """What a map's folder says about itself."""

    format: str = FORMAT
    """Always the same words."""
    format_version: int = FORMAT_VERSION
    """Raised when an older reader would misread the folder."""
    package_version: str
    """Version of the package that wrote it."""
    arrays: str
    """File with the arrays."""
    arrays_sha256: str
    """Hash of that file."""
    maps: dict[str, dict[str, Any]]
    """Station to the map's structure; arrays by their name in the file."""
    settings: dict[str, Any] = {}
    """Settings of the fit."""
    seed: int | None = None
    """Seed of the fit."""
    data_sha256: str | None = None
    """`data_hash` of the reports."""
    scores: dict[str, Any] = {}
    """Scores on held-out reports."""
    calibration: dict[str, dict[str, Any]] = {}
    """Station to what was estimated of it and of its users, and taken off their reports."""
    content_sha256: str | None = None
    """Hash of all the above; none in folders of earlier versions."""


def data_hash(reports: Reports) -> str:
    """Hash the reports: equal values, equal hash, on any machine."""
    digest = hashlib.sha256()
    leaves, _ = jax.tree_util.tree_flatten_with_path(reports)
    for path, leaf in leaves:
        array = np.asarray(leaf)
        kind = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "|b1"}[array.dtype.kind]
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    digest.update("\n".join(reports.station).encode())
    return digest.hexdigest()


def save_maps(
    maps: ChannelMap | Mapping[str, ChannelMap],
    folder: str | os.PathLike,
    *,
    settings: pydantic.BaseModel | Mapping[str, Any] | None = None,
    seed: int | None = None,
    data_sha256: str | None = None,
    scores: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Mapping[str, Any]] | None = None,
) -> pathlib.Path:
    """Write maps to a folder, or replace the maps in it, in one step.

    Args:
        maps: One map, or one for each station.
        folder: Where; its parent must exist or be makeable.
        settings: Settings of the fit.
        seed: Seed of the fit.
        data_sha256: `data_hash` of the reports.
        scores: Scores on held-out reports; numbers, text, lists or mappings.
        calibration: What was estimated of each station and of its users.

    Raises:
        InputError: The folder exists and holds something else than maps.
    """
    folder = pathlib.Path(folder)
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    arrays: dict[str, np.ndarray] = {}
    structure = {name: _encode(item, name, arrays) for name, item in maps.items()}
    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    digest = hashlib.sha256(content).hexdigest()
    if isinstance(settings, pydantic.BaseModel):
        settings = settings.model_dump(mode="json")
    manifest = Manifest(
        package_version=echoscape.__version__,
        arrays=f"arrays-{digest[:16]}.safetensors",
        arrays_sha256=digest,
        maps=structure,
        settings=dict(settings or {}),
        seed=seed,
        data_sha256=data_sha256,
        scores=dict(scores or {}),
        calibration={name: dict(each) for name, each in (calibration or {}).items()},
    )
    about = manifest.model_dump(mode="json")
    about["content_sha256"] = _content_hash(about)
    text = json.dumps(about, indent=2, allow_nan=False) + "\n"
    replacing = folder.is_dir() and any(folder.iterdir())
    if folder.exists() and (not folder.is_dir() or (replacing and not _is_map_folder(folder))):
        raise InputError(f"{folder} exists and is no map folder; give another folder for the map")
    with atomic_folder(folder, MANIFEST, ("arrays-*.safetensors",)) as draft:
        (draft / manifest.arrays).write_bytes(content)
        (draft / MANIFEST).write_text(text, encoding="utf-8")
    return folder


def _content_hash(about: Mapping[str, Any]) -> str:
    """Hash a manifest's content but for the hash itself, however it is laid out as text."""
    content = {name: value for name, value in about.items() if name != "content_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_manifest(folder: str | os.PathLike) -> Manifest:
    """Read what a map's folder says about itself.

    Raises:
        InputError: It is no map folder, of another format version, or damaged.
    """
    manifest, intact = _read_manifest(pathlib.Path(folder))
    if not intact:
        raise _changed(pathlib.Path(folder))
    return manifest


def _read_manifest(folder: pathlib.Path) -> tuple[Manifest, bool]:
    """Read a manifest, and whether its content has its checksum."""
    try:
        check_size(folder / MANIFEST, 10 * check_input(folder / MANIFEST, MANIFEST), "its maps")
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no map folder: it has no {MANIFEST}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise InputError(f"{folder / MANIFEST} is damaged: it is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{folder} is no map folder: its {MANIFEST} is of something else")
    version = content.get("format_version")
    if version not in READABLE_VERSIONS:
        raise InputError(
            f"{folder} holds maps of format version {version}, this package reads"
            f" {' and '.join(map(str, READABLE_VERSIONS))}; fit the map again or use the package"
            f" version {content.get('package_version')} that wrote it"
        )
    try:
        manifest = Manifest.model_validate(content)
    except pydantic.ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{folder / MANIFEST} is damaged at {where!r}") from None
    return manifest, manifest.content_sha256 in (None, _content_hash(content))


def _changed(folder: pathlib.Path) -> InputError:
    return InputError(
        f"{folder / MANIFEST} is damaged: its content is not what was written (its checksum "
        "differs); copy or fit the map again"
    )


def load_maps(folder: str | os.PathLike) -> dict[str, ChannelMap]:
    """Read the maps of every station in a folder.

    Raises:
        InputError: It is no map folder, of another version, of unknown kind, or damaged.
    """
    folder = pathlib.Path(folder)
    manifest, intact = _read_manifest(folder)
    file = folder / manifest.arrays
    if file.name != manifest.arrays:
        raise InputError(f"{folder / MANIFEST} is damaged at 'arrays'")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        if load_manifest(folder) != manifest:  # replaced while we read
            return load_maps(folder)
        raise InputError(f"{folder} is incomplete: {manifest.arrays} is missing") from None
    damaged = f"{file} is damaged: copy or fit the map again"
    if hashlib.sha256(content).hexdigest() != manifest.arrays_sha256:
        raise InputError(damaged)
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, TypeError, KeyError):
        raise InputError(damaged) from None
    maps = {}
    for station, structure in manifest.maps.items():
        unusable = f"{folder / MANIFEST} is damaged at station {station!r}"
        try:
            item = _decode(structure, arrays)
        except _UnknownKind as refusal:
            raise InputError(str(refusal)) from None
        except (KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise InputError(unusable) from None
        except ValueError as problem:  # of a type that is made of the values
            raise InputError(f"{unusable}: {problem}") from None
        if not isinstance(item, ChannelMap) or item.station != station:
            raise InputError(unusable)
        maps[station] = item
    if not intact:  # last, for what is missing says more
        raise _changed(folder)
    if not maps:
        raise InputError(f"{folder} holds no map of any station; fit the map again")
    return maps


class _UnknownKind(InputError):
    """A kind of map that is not registered here."""


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Describe a value for the manifest; move its arrays aside."""
    if isinstance(value, np.ndarray | jax.Array):
        arrays[path] = np.asarray(value)
        return {"array": path, "host": isinstance(value, np.ndarray)}
    if isinstance(value, eqx.Module):
        kind = next((name for name, cls in _REGISTERED.items() if cls is type(value)), None)
        if kind is None:
            raise TypeError(f"{type(value).__name__} has no @storable name, so it cannot be saved")
        return {
            "kind": kind,
            "fields": {
                field.name: _encode(getattr(value, field.name), f"{path}/{field.name}", arrays)
                for field in dataclasses.fields(value)
            },
        }
    if isinstance(value, tuple):
        return {"items": [_encode(item, f"{path}/{k}", arrays) for k, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a map's field cannot be saved as {type(value).__name__}")


def _decode(node: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Rebuild what `_encode` described."""
    if "array" in node:
        array = arrays[node["array"]]
        return array if node["host"] else jnp.asarray(array)
    if "items" in node:
        return tuple(_decode(item, arrays) for item in node["items"])
    if "kind" in node:
        kind = str(node["kind"])
        upgrade, cls = _UPGRADES.get(kind), _REGISTERED.get(kind)
        if cls is None and upgrade is None:
            raise _UnknownKind(str(unknown_name("kind of map", kind, _REGISTERED)))
        fields = {name: _decode(item, arrays) for name, item in node["fields"].items()}
        item = fields if upgrade is None else upgrade(fields)
        if dataclasses.is_dataclass(item):
            cls = type(item)
            fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        elif cls is None:
            return item  # a part that the upgrade of the whole map reads
        else:
            fields = item
        wrong = wrong_field(cls, fields)
        if wrong is not None:
            raise ValueError(f"its {wrong} does not fit a map of kind {kind!r}")
        return cls(**fields)
    return node["value"]


def _is_map_folder(folder: pathlib.Path) -> bool:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT
