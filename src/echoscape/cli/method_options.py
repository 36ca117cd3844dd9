"""A family of methods as options of a command: the settings are the methods' own fields.

Takes pydantic classes, one a method.
Gives one class of options that a command can ask for, and a method made of those that were given.
"""

import typing
from collections.abc import Sequence
from typing import Any

import pydantic

from echoscape.checks import InputError, unknown_name


def options_of(methods: Sequence[type[pydantic.BaseModel]]) -> type[pydantic.BaseModel]:
    """Gather the fields of methods as options, none of them required.

    Args:
        methods: The classes; each has a `name`.
    """
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(field for method in methods for field in method.model_fields):
        having = [method for method in methods if name in method.model_fields]
        first = having[0].model_fields[name]
        kinds = dict.fromkeys(method.model_fields[name].annotation for method in having)
        kind: Any = None
        for each in kinds:
            kind = each if kind is None else kind | each
        if any(typing.get_origin(each) is tuple for each in kinds):
            kind = str  # names with commas between
        text = " ".join((first.description or "").split())
        if len(having) < len(methods):
            text += f" For {', '.join(method.name for method in having)}."  # pyright: ignore[reportAttributeAccessIssue]
        default = pydantic.Field(default=None, description=text)
        fields[name] = (kind | None, default)
    return pydantic.create_model("MethodOptions", **fields)


def make_method(
    methods: Sequence[type[pydantic.BaseModel]], name: str, options: pydantic.BaseModel | None
) -> Any:
    """Make the method of a name with the options that were given.

    Raises:
        InputError: There is no such method, or an option is none of its settings or out of range.
    """
    known = {method.name: method for method in methods}  # pyright: ignore[reportAttributeAccessIssue]
    if name not in known:
        raise unknown_name("method", name, known)
    given = {} if options is None else options.model_dump(exclude_none=True)
    for field in given:
        if field not in known[name].model_fields:
            able = [n for n, method in known.items() if field in method.model_fields]
            raise InputError(
                f"--{field.replace('_', '-')} has no meaning for the method {name!r}, only for "
                f"{', '.join(able)}"
            )
    try:
        return known[name](**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        came = first["input"]
        raise InputError(f"--{option}: {first['msg'].lower()}; got {came}") from None
