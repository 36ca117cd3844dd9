"""Every test runs in double precision, with annotations checked and no silent rank promotion.

``ECHOSCAPE_UNCHECKED=1`` switches the check of annotations off: the suite passes both ways, so
nothing relies on the check being there.
"""

import os
import pathlib

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling is most of the suite's time: workers share it, and what runs briefly is not optimized,
# except where annotations go unchecked, so that the gate sees every test both ways.
_CACHE = pathlib.Path(__file__).resolve().parents[1] / ".pytest_cache/compiled"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)

CHECKED = os.environ.get("ECHOSCAPE_UNCHECKED") != "1"
if CHECKED:
    from jaxtyping import install_import_hook

    install_import_hook("echoscape", "beartype.beartype")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    """Leave optimizing to runs that are long or measure."""
    brief = CHECKED and config.getoption("markexpr") == "not slow"
    jax.config.update("jax_disable_most_optimizations", brief)


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
