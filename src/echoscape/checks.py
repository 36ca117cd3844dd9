"""One voice for bad input: the same wording, eager or compiled, from code or from a file.

A refusal says what was needed, in which unit, and what came.  Converters for the fields of an
`eqx.Module` raise ``ValueError`` at once where values are known and the same sentence from
compiled code otherwise; files and options raise `InputError`, which the command line prints as one
sentence.

Takes numbers, arrays, words, settings files.
Gives them back unchanged, or one clear sentence.
"""

import difflib
import pathlib
import tomllib
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

if typing.TYPE_CHECKING:
    import pydantic

    Settings = TypeVar("Settings", bound=pydantic.BaseModel)
else:
    Settings = TypeVar("Settings")


_LARGEST_SETTINGS = 2**20  # bytes


class InputError(ValueError):
    """What a user gave (a file, an option) cannot be used; the message is one sentence for them."""


def _converter(problem: str, is_good: Callable[[Array], Array]) -> Callable[[ArrayLike], Array]:
    def convert(value: ArrayLike) -> Array:
        value = jnp.asarray(value)
        bad = ~jnp.all(is_good(value))
        if isinstance(bad, Tracer):
            return eqx.error_if(value, bad, problem)
        if bad:
            raise ValueError(f"{problem}; got {value}")
        return value

    return convert


def positive(name: str, unit: str) -> Callable[[ArrayLike], Array]:
    """Make a field converter that accepts only finite numbers above zero."""
    return _converter(
        f"{name} must be finite and above zero, in {unit}",
        lambda value: (value > 0) & jnp.isfinite(value),
    )


def finite(name: str, unit: str) -> Callable[[ArrayLike], Array]:
    """Make a field converter that accepts only finite numbers."""
    return _converter(f"{name} must be finite, in {unit}", jnp.isfinite)


def same_shape(**arrays: Array) -> None:
    """Refuse arrays that should run over the same axis but do not."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"these need one entry each per path; got shapes {shapes}")


def nearest_name(word: str, known: Iterable[str]) -> str | None:
    """Find the known name that a misspelt word most likely meant, if any is close."""
    close = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown_name(kind: str, word: str, known: Iterable[str]) -> InputError:
    """Make, not raise, the refusal of a name that is not known, with the nearest that is."""
    known = sorted(known)
    nearest = nearest_name(word, known)
    hint = f"did you mean '{nearest}'?" if nearest else f"known are {', '.join(known)}"
    return InputError(f"there is no {kind} '{word}'; {hint}")


def former_names(module: str, names: Mapping[str, Any]) -> Callable[[str], Any]:
    """Make a module's ``__getattr__`` that knows names of the previous version, and warns.

    Args:
        module: The module's name.
        names: Former names, and what stands for each now.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        sentence = f"{name} is deprecated; use {names[name].__name__}"
        warnings.warn(sentence, DeprecationWarning, stacklevel=2)
        return names[name]

    return find


def read_settings(path: str | pathlib.Path, model: type[Settings]) -> Settings:
    """Read a TOML file into a pydantic model, or refuse it in one sentence.

    Args:
        path: The file.
        model: Frozen model that forbids unknown keys; a field's description ends in its unit.

    Raises:
        InputError: The file is missing or no TOML, a key is unknown (the nearest is named),
            missing, or of a wrong type or range.
    """
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > _LARGEST_SETTINGS or not path.is_file():
            raise InputError(f"{path} must be a file of settings, at most a megabyte of TOML")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        return make_settings(model, content)
    except InputError as refusal:
        raise InputError(f"{path}: {refusal}") from refusal


def make_settings(model: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make a pydantic model, such as of a command's options, or refuse it in one sentence.

    Raises:
        InputError: A key is unknown (the nearest is named), missing, or of a wrong type or range.
    """
    import pydantic

    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise InputError(_first_problem(error, model)) from error


def _first_problem(error: "pydantic.ValidationError", model: "type[pydantic.BaseModel]") -> str:
    """Say the first thing that is wrong with settings, unknown keys before all else."""
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda each: each["type"] != "extra_forbidden")
    location = problem["loc"]
    owner = _model_at(model, location[:-1])
    name = ".".join(str(part) for part in location)
    last = str(location[-1]) if location else ""
    known = owner.model_fields if owner else {}
    if problem["type"] == "extra_forbidden":
        group = f" of '{name.rpartition('.')[0]}'" if len(location) > 1 else ""
        return str(unknown_name(f"setting{group}", last, known))
    field = known.get(last)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    if problem["type"] == "missing":
        return f"'{name}'{meaning} is missing"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"'{name}'{meaning} {message[0].lower()}{message[1:]}; got {problem['input']!r}"


def _model_at(
    model: "type[pydantic.BaseModel]", location: tuple[int | str, ...]
) -> "type[pydantic.BaseModel] | None":
    """Follow an error's location down nested models, lists and options."""
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        inner = _models_in(field.annotation)
        if not inner:
            return None
        model = inner[0]
    return model


def _models_in(annotation: Any) -> "list[type[pydantic.BaseModel]]":
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]
