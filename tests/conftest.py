"""Every test runs in double precision, with annotations checked and no silent rank promotion.

``ECHOSCAPE_UNCHECKED=1`` switches the check of annotations off: the suite passes both ways, so
nothing relies on the check being there.
"""

import ctypes
import gc
import importlib.metadata
import os
import pathlib
import resource
import sys

# Before numpy is imported.  Two workers share two cores: threads of linear algebra that wait for
# one another only burn them, and a worker took three times the time with two as with one.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Fusing by MLIR is more than half of the time to compile and hardly speeds up what tests run; nor
# do the last optimizations.  A version that does not know the flags would refuse to start.
PLAIN = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {PLAIN}"

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling is most of the suite's time, so workers share it.
_CACHE = pathlib.Path(__file__).resolve().parents[1] / ".pytest_cache/compiled"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # eager steps, too

CHECKED = os.environ.get("ECHOSCAPE_UNCHECKED") != "1"
if CHECKED:
    from jaxtyping import install_import_hook

    install_import_hook("echoscape", "beartype.beartype")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"
CROWDED = 1.2e9  # [byte]: a worker must stay below 2 GB, and one module adds up to 0.7 GB
CROWDED_SLOW = 2.2e9  # [byte]: of slow tests, which trace and load again whatever is dropped

# Tracing makes many small objects and few cycles: collecting less often saves a tenth of the time.
gc.set_threshold(100_000, 50, 100)


MUCH_TO_RUN = (
    "channel_map/learned", "imaging", "numerics", "studies/occlusion_imaging",
    "studies/test_first_map.py", "test_readme.py",
)  # fmt: skip
"""Folders and modules whose slow tests take more time to run than to compile."""
LONGEST = ("test_readme.py", "studies", "tracking", "localization")
"""Folders and modules that a worker should not begin with last."""


def pytest_collection_modifyitems(items):
    """Begin with what takes longest."""
    tests = pathlib.Path(__file__).parent

    def turn(item):
        folder = item.path.relative_to(tests).parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=turn)


def resident():
    """Return the memory that this process holds now [byte]; its peak where that is not told."""
    try:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def slow_tests_run(config):
    """Tell whether slow tests are among those that run."""
    return config.getoption("markexpr") != "not slow"


@pytest.fixture(scope="module", autouse=True)
def _compiler(request):
    """Leave the compiler's optimizations out, except where slow tests run long on what it makes."""
    folder = request.path.relative_to(pathlib.Path(__file__).parent).as_posix()
    long = slow_tests_run(request.config) and folder.startswith(MUCH_TO_RUN)
    jax.config.update("jax_disable_most_optimizations", not long)


@pytest.fixture(scope="module", autouse=True)
def _room(request):
    """Drop compiled programs after a module once they crowd the worker: they are kept on disk."""
    yield
    if resident() > (CROWDED_SLOW if slow_tests_run(request.config) else CROWDED):
        jax.clear_caches()
        eqx.clear_caches()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def key():
    """One fixed random key: a random test fails always or never."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def shared():
    """Folder of data beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` beside the repository")
    return SHARED
