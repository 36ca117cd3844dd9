"""How data and results show themselves: a few lines, a notebook's table, a data frame, a word.

Takes counts, spans and columns.
Gives text and HTML, pandas data frames, and `Status`, whose values print as words with advice.
"""

import abc
import ast
import dataclasses
import enum
import functools
import html
import importlib
import inspect
import itertools
import os
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax
from jax.core import Tracer

from echoscape.checks import InputError
from echoscape.text import printable

if TYPE_CHECKING:
    import pyarrow as pa


class Status(enum.IntEnum):
    """A result code; ``str`` gives its word, `advice` what it means and what to do about it."""

    @property
    def advice(self) -> str:
        """The text below the member in its class."""
        return _texts_below_members(type(self)).get(self.name, "")

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


@functools.cache
def _texts_below_members(kind: type[Status]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    texts = {}
    for member, below in itertools.pairwise(body):
        match member, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts


class Plotted:
    """A base of results that have a figure."""

    def plot(self, **given: Any) -> Any:
        """Draw it on matplotlib axes and return them; needs the extra ``plot``.

        Args:
            given: `axes` to draw on, `width` of a new figure [inch], and what stands beside the
                result, such as the `maps` of a fix: see `echoscape.plotting.results.plot`.
        """
        # Drawing comes after all stages, so it is looked up when it is asked for.
        return importlib.import_module("echoscape.plotting.results").plot(self, **given)


class Displayed(Plotted):
    """A base of what shows itself: it says its columns and its counts, the rest is here."""

    made_by: ClassVar[str] = ""
    """How users make one, for refusals."""

    @abc.abstractmethod
    def to_arrow(self) -> "pa.Table":
        """Lay it out as an Arrow table with the columns of ``docs/formats.md``."""

    @abc.abstractmethod
    def summary_rows(self) -> Mapping[str, str]:
        """Count what it holds, a name and a text a row."""

    def to_pandas(self) -> Any:
        """Lay it out as a pandas data frame with the columns of ``docs/formats.md``."""
        try:
            importlib.import_module("pandas")
        except ImportError:
            raise InputError(
                "to_pandas needs the package pandas, which is not installed: pip install pandas; "
                "to_arrow() does without"
            ) from None
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        rows = self._rows()
        width = max(map(len, rows), default=0)
        lines = [f"  {name:<{width}}  {printable(text)}" for name, text in rows.items()]
        return "\n".join([type(self).__name__, *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(printable(text))}</td></tr>"
            for name, text in self._rows().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"

    def _rows(self) -> Mapping[str, str]:
        if has_values(self):
            return self.summary_rows()
        return {"holds": "values that are not known yet (inside jit, vmap or grad)"}


def has_values(value: Any) -> bool:
    """Tell data from what a transformation of JAX puts in its place, however deep inside."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            part = getattr(value, field.name, None)
            if (part is None and field.default is dataclasses.MISSING) or not has_values(part):
                return False
        return True
    kind = Tracer | jax.ShapeDtypeStruct
    return not isinstance(value, kind) and type(value) is not object


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Say how many of what: ``1 report``, ``1,200 reports``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def span(values: Any, unit: str, factor: float = 1.0) -> str:
    """Say the range of some numbers: ``12.1 to 340 m``; ``none`` if there are none."""
    if not len(values):
        return "none"
    low, high = (f"{factor * float(value):.4g}" for value in (values.min(), values.max()))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _holds_tracers(value: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def expect(value: Any, kind: type, verb: str) -> None:
    """Refuse a value of another kind in one sentence that says how to make the right one.

    Args:
        value: What a user gave.
        kind: What was needed; its `made_by` says how it is made.
        verb: The function that needs it.

    Raises:
        InputError: The value is of another kind, or what it holds is not known yet.
    """
    if isinstance(value, kind):
        if _holds_tracers(value):
            raise InputError(
                f"{verb} needs values in host memory and cannot run inside jit, vmap or grad; call "
                "it outside (maps and `Paths` can be used there)"
            )
        return
    inside = next((n for n in ("echoes",) if isinstance(getattr(value, n, None), kind)), None)
    made_by = getattr(kind, "made_by", "")
    cure = f"give its .{inside}" if inside else f"make them by {made_by}" if made_by else ""
    came = f"a value of type {type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if isinstance(value, str | os.PathLike):
        came = f"the path {printable(repr(os.fspath(value)))}"
    raise InputError(f"{verb} needs {kind.__name__}, but got {came}{'; ' + cure if cure else ''}")
