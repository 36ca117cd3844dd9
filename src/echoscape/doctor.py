"""What of the things that Echoscape needs is here, and in which version.

Takes nothing; looks at the Python environment.
Gives a `Diagnosis`, with one sentence for each thing that must be repaired.
"""

import dataclasses
import importlib.metadata
import os
import platform
import re
import sys

_OLDEST_PYTHON = (3, 11)


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that every command needs."""

    name: str
    """Its name in a registry."""
    needs: str
    """Range of versions."""
    version: str | None
    """Installed version, if any."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What is installed."""

    version: str
    """Of Echoscape."""
    python: str
    """Version of Python, and where it is."""
    machine: str
    """Operating system, processor, cores."""
    devices: tuple[str, ...]
    """Devices that JAX can compute on."""
    packages: tuple[Package, ...]
    """What every command needs."""
    extras: dict[str, tuple[str, ...]]
    """What each extra still lacks."""
    ray_tracing: str
    """Whether Sionna RT can run, and if not why not."""
    problems: tuple[str, ...]
    """What must be repaired, one sentence each."""


def diagnose() -> Diagnosis:
    """Look at Python, the packages, the devices and the extras."""
    from echoscape import __version__

    packages, optional, extras = _requirements()
    problems = [
        f"{package.name} is missing; install it by `pip install '{package.name}{package.needs}'`"
        for package in packages
        if package.version is None
    ]
    problems += [
        f"{package.name} {package.version} is outside {package.needs}; install it by "
        f"`pip install '{package.name}{package.needs}'`"
        for package in (*packages, *optional)
        if package.version is not None and not _within(package.version, package.needs)
    ]
    if sys.version_info < _OLDEST_PYTHON:
        problems.append(f"Python 3.11 or newer is needed; this is {platform.python_version()}")
    devices, failure = _devices()
    return Diagnosis(
        version=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        devices=devices,
        packages=tuple(packages),
        extras=extras,
        ray_tracing=_ray_tracing(),
        problems=(*problems, *failure),
    )


def _requirements() -> tuple[list[Package], list[Package], dict[str, tuple[str, ...]]]:
    """Read what the installed metadata of Echoscape says it needs.

    Gives what it always needs, what its extras bring, and what each of these lacks.
    """
    metadata = importlib.metadata.metadata("echoscape")
    extras: dict[str, list[str]] = {name: [] for name in metadata.get_all("Provides-Extra") or []}
    packages: list[Package] = []
    optional: dict[str, Package] = {}  # several extras may bring one
    for line in importlib.metadata.requires("echoscape") or []:
        requirement, _, marker = line.partition(";")
        match = re.match(r"([\w.-]+)\s*(.*)", requirement.strip())
        if match is None:
            continue
        name, needs = match[1], match[2].strip(" ()")
        version = _version(name)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", marker)
        if "platform_machine" in marker and not _for_here(marker):
            continue
        if extra is None:
            packages.append(Package(name, needs, version))
            continue
        optional[name] = Package(name, needs, version)
        if version is None:
            extras[extra[1]].append(name)
    lacking = {name: tuple(missing) for name, missing in extras.items()}
    return packages, list(optional.values()), lacking


def _for_here(marker: str) -> bool:
    """Tell whether one of the kinds of machine that a marker names is this one."""
    kinds = re.findall(r"sys_platform == '(\w+)' and platform_machine == '(\w+)'", marker)
    return (sys.platform, platform.machine()) in kinds


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _within(version: str, needs: str) -> bool:
    """Compare release numbers with ranges such as ``<0.13,>=0.10``."""
    have = _release(version)
    for term in filter(None, (part.strip() for part in needs.split(","))):
        match = re.match(r"(>=|<)\s*([\d.]+)$", term)
        if match is None:
            continue  # a kind of term that this project does not use
        bound = _release(match[2])
        if (have < bound) if match[1] == ">=" else (have >= bound):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    return tuple(parts + [0] * (4 - len(parts)))


def _devices() -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        import jax

        return tuple(f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.devices()), ()
    except Exception as error:  # a broken installation fails in many ways
        return (), (f"JAX finds no device to compute on ({error}); install jax again",)


def _ray_tracing() -> str:
    try:
        from echoscape.propagation.sionna_rt import find_llvm, why_not
    except ImportError as error:  # what every command needs is missing; that is said elsewhere
        return f"not known ({error})"
    return why_not() or f"Sionna RT runs, with {find_llvm()}"
