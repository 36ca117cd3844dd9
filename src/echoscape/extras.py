"""Which extra brings a package that the core does without, and one sentence where it is missing.

Takes the name of an extra and what for.
Gives nothing where it is installed, an `InputError` that says how to install it where it is not.
"""

import importlib.util

PACKAGES = {
    "cluster": ("distributed", "dask_jobqueue"),
    "cli": ("cyclopts", "rich"),
    "hdf5": ("h5py",),
    "plot": ("matplotlib",),
    "postgres": ("sqlalchemy", "alembic", "psycopg"),
    "rt": ("sionna.rt",),
    "service": ("sqlalchemy", "alembic", "fastapi", "uvicorn", "websockets"),
    "store": ("sqlalchemy", "alembic"),
    "stream": ("sqlalchemy", "alembic", "zmq"),
}
"""Modules that each extra brings; those of development are not here, nor is `embree`, without which
the built-in kernel casts the rays."""


def missing(extra: str) -> str | None:
    """Name the first package of an extra that is not installed.

    Args:
        extra: One of `PACKAGES`.
    """
    for name in PACKAGES[extra]:
        try:
            if importlib.util.find_spec(name) is None:
                return name
        except (ModuleNotFoundError, ValueError):  # its parent is missing; it was shut out
            return name
    return None


def sentence(extra: str, purpose: str, way_out: str = "") -> str:
    """Say what an extra is needed for and how it is installed.

    Args:
        extra: One of `PACKAGES`.
        purpose: What needs it, the beginning of the sentence.
        way_out: What does without it, the end of the sentence.
    """
    more = f", or {way_out}" if way_out else ""
    return (
        f"{purpose} needs the extra `{extra}` ({missing(extra)} is not installed): "
        f"pip install 'echoscape[{extra}]'{more}"
    )


def need(extra: str, purpose: str, way_out: str = "") -> None:
    """Refuse to go on without an extra.

    Args:
        extra: One of `PACKAGES`.
        purpose: What needs it, the beginning of the sentence.
        way_out: What does without it, the end of the sentence.

    Raises:
        InputError: A package of it is not installed.
    """
    if missing(extra):
        from echoscape.checks import InputError  # comes with JAX, which help does without

        raise InputError(sentence(extra, purpose, way_out))
