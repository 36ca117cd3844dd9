"""The points of a sweep measured by several processes, on this machine or on a cluster, by Dask.

Every point is one task that any worker can do from its setting alone, so a worker that is killed
costs only the point it was at: another one does it.  What comes back is kept by the one process
that asked, point by point.  Workers of this machine share what is compiled; each has as many
threads of XLA as one process alone, on which the last digits of long sums depend.

Takes a number of workers, or the address of a scheduler, which Slurm, PBS or Kubernetes may have
started.
Gives a `Spread` for `sweep`; needs the extra ``cluster``.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from echoscape import __version__
from echoscape.checks import InputError
from echoscape.extras import need
from echoscape.studies.sweep import Row, Setting, Spread, setting_name

_PATIENCE = 20.0  # [s] until a scheduler answers
_ARITHMETIC = (
    "jax_enable_x64", "jax_default_matmul_precision", "jax_disable_most_optimizations",
)  # fmt: skip
_KEPT = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@contextlib.contextmanager
def spread_over(
    workers: int | None = None, scheduler: str | None = None
) -> "Iterator[Spread | None]":
    """Lend a way to measure many points at once; None where neither is given: one by one.

    Args:
        workers: Processes of this machine.
        scheduler: Address of a Dask scheduler with workers of its own, such as tcp://host:8786.

    Raises:
        InputError: Both are given, the extra is missing, or the scheduler cannot be used.
    """
    if workers is None and scheduler is None:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise InputError("--workers starts processes of its own: give it or --scheduler, not both")
    if workers is not None and not 1 <= workers <= 1024:
        raise InputError(f"--workers must be between 1 and 1024 processes; got {workers}")
    need("cluster", "several workers", "leave --workers and --scheduler out for one process")
    from distributed import Client, LocalCluster

    if scheduler is not None:
        with _client(scheduler) as client:
            yield Dask(client)
        return
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield Dask(client, here=True)


class Dask:
    """Measures points on the workers of a client."""

    def __init__(self, client: Any, *, here: bool = False):
        """Prepare to measure.

        Args:
            client: Of `distributed`.
            here: Whether its workers are on this machine and share what is compiled.
        """
        self._client, self._here = client, here

    def __call__(
        self, measure: Callable[[Setting], Iterable[Row]], settings: Sequence[Setting]
    ) -> Iterator[tuple[int, list[Row]]]:
        """Yield the number of each point and its rows, as they are done.

        Args:
            measure: An importable function, or a partial one.
            settings: Points.

        Raises:
            InputError: A point was refused, or killed every worker that tried it.
        """
        import jax
        from distributed import KilledWorker, as_completed

        names = (*_ARITHMETIC, *_KEPT) if self._here else _ARITHMETIC
        config: Any = jax.config
        shared = {name: config.values[name] for name in names}
        place = {}
        for i, setting in enumerate(settings):
            future = self._client.submit(
                measure_point, measure, setting, shared,
                key=f"point-{i}-{setting_name(setting)}", pure=False,
            )  # fmt: skip
            place[future] = i
        for future in as_completed(list(place)):
            try:
                yield place[future], future.result()
            except KilledWorker as error:
                raise InputError(
                    f"each worker that tried the point {settings[place[future]]} was killed; is "
                    "there memory for it? Points that are done are kept: ask again to go on"
                ) from error


def measure_point(
    measure: Callable[[Setting], Iterable[Row]],
    setting: Setting,
    shared: dict[str, Any],
) -> list[Row]:
    """Measure a point in a worker.

    Args:
        measure: Gives the rows of a point.
        setting: The point.
        shared: Settings of JAX that it has in common with who asked.
    """
    import jax

    for name, value in shared.items():
        jax.config.update(name, value)
    return list(measure(setting))


def _client(scheduler: str) -> Any:
    """Connect to a scheduler whose workers have this version of the package."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_PATIENCE)
        versions: Any = client.run(_version_here)
    except (OSError, ValueError, ImportError) as error:
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"the scheduler {scheduler!r} cannot be used: {cause}; start one "
            "by `dask scheduler` and name its address, such as tcp://host:8786"
        ) from error
    others = sorted({version for version in versions.values() if version != __version__})
    if others or not versions:
        client.close()
        raise InputError(
            f"the workers of {scheduler} have echoscape {others[0]}, and this is {__version__}: "
            "install the same version everywhere"
            if others
            else f"the scheduler {scheduler} has no worker; start some by `dask worker {scheduler}`"
        )
    return client


def _version_here() -> str:
    return __version__
