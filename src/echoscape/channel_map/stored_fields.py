"""What a map's fields must be, by the annotations of its class.

A hash tells that a file is what was written, not that it was written by this package.  So after
the hash every field is compared with its annotation: kind and number of axes, lengths that agree,
plain values of their type, and numbers that are numbers.

Takes a class and values of its fields.
Gives the name of the first field that cannot be, if there is one.
"""

import types
import typing
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import AbstractArray, jaxtyped


def wrong_field(cls: type, fields: Mapping[str, Any]) -> str | None:
    """Find a field whose value does not fit its annotation, or an array with NaN in it.

    Args:
        cls: A dataclass whose arrays have shapes in their annotations.
        fields: Its values by name.
    """
    hints = typing.get_type_hints(cls)
    with jaxtyped("context"):  # axes of one name have one length within a map
        for name, value in fields.items():
            if name not in hints or not _fits(value, hints[name]):
                return name
    for name, value in fields.items():
        if isinstance(value, np.ndarray | jax.Array):
            array = np.asarray(value)
            optional = type(None) in typing.get_args(hints[name])  # where NaN says unknown
            if array.dtype.kind in "fc" and not optional and np.isnan(array).any():
                return name
            if name.endswith("position") and array.dtype.kind == "f" and np.isinf(array).any():
                return name
    return None


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inside)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(inside) == 2 and inside[1] is Ellipsis:
            return all(_fits(each, inside[0]) for each in value)
        return len(value) == len(inside) and all(map(_fits, value, inside))
    if hint in (Any, typing.Any) or isinstance(hint, typing.TypeVar) or origin is not None:
        return True
    if hint is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return isinstance(value, hint)
    return isinstance(value, hint) if isinstance(hint, type) else True
