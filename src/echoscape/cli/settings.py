"""Methods and their settings on the command line, read from the classes themselves.

A method is a class whose fields are its settings.  The command line offers its name, written with
hyphens, and each field as ``--set NAME=VALUE``; types, defaults and descriptions are the field's
own, so there is no second list to keep.

Takes classes of methods, a name, and settings as words.
Gives the method, or one sentence that names the settings there are.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Sequence
from typing import Any

from echoscape.checks import InputError

_LARGEST = 2**62  # arrays hold no larger integers


def option_name(method: type) -> str:
    """Write a class's name with hyphens: ``VisibilityGamp`` is ``visibility-gamp``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", method.__name__).lower()


def settings_of(method: type) -> dict[str, dataclasses.Field]:
    """List the fields of a method that a command line can set: plain numbers, words, yes or no."""
    hints = typing.get_type_hints(method)
    return {
        field.name: field
        for field in dataclasses.fields(method)
        if field.init and _plain(hints[field.name]) is not None
    }


def describe(method: type) -> dict[str, str]:
    """Give the first paragraph below each field, its documentation, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0]
    found: dict[str, str] = {}
    name = None
    for node in typing.cast(ast.ClassDef, tree).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = " ".join(str(node.value.value).split())
            name = None
        else:
            name = None
    return found


def table(methods: Sequence[type]) -> dict[str, str]:
    """Make the rows of a table of all methods, their settings, defaults and descriptions."""
    rows: dict[str, str] = {}
    for method in methods:
        title = option_name(method)
        rows[title] = (inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " ")
        texts = describe(method)
        for name, field in settings_of(method).items():
            rows[f"{title} --set {name}="] = f"{field.default}: {texts.get(name, '')}"
    return rows


def make_method(methods: Sequence[type], name: str, words: Sequence[str] = ()) -> Any:
    """Make a method from its name and settings such as ``iterations=50``.

    Raises:
        InputError: There is no such method or setting, or the value is none.
    """
    by_name = {option_name(method): method for method in methods}
    if name not in by_name:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(by_name)}")
    method = by_name[name]
    fields, hints = settings_of(method), typing.get_type_hints(method)
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in fields:
            known = ", ".join(fields) or "none"
            raise InputError(
                f"--set needs NAME=VALUE with a setting of {name}, which are {known}; got {word!r}"
            )
        values[key] = _read(text.strip(), hints[key], f"--set {key}")
    try:
        return method(**values)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _plain(hint: Any) -> tuple[Any, ...] | None:
    """Give the plain types that a hint allows, or nothing if it allows others."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = (bool, int, float, str, type(None))
    good = all(part in plain or typing.get_origin(part) is typing.Literal for part in parts)
    return parts if good else None


def _read(text: str, hint: Any, option: str) -> Any:
    parts = _plain(hint) or ()
    if type(None) in parts and text.lower() == "none":
        return None
    for part in parts:
        if typing.get_origin(part) is typing.Literal and text in typing.get_args(part):
            return text
        if part is bool and text.lower() in ("true", "false", "yes", "no"):
            return text.lower() in ("true", "yes")
        if part in (int, float, str):
            try:
                value = part(text)
            except ValueError:
                continue
            if isinstance(value, int) and abs(value) >= _LARGEST:
                raise InputError(f"{option} must be below {_LARGEST} in size; got {text}")
            return value
    names = [getattr(part, "__name__", str(part)) for part in parts if part is not type(None)]
    raise InputError(f"{option} needs {' or '.join(names)}; got {text!r}")
