"""How much to work on at a time: what fits a processor's cache, or what fills an accelerator.

Takes the two numbers.
Gives the one that suits the machine that JAX runs on.
"""

import jax


def block(on_processor: int, on_accelerator: int) -> int:
    """Choose a number of items: a GPU waits for its host after each block, a cache overflows."""
    return on_processor if jax.default_backend() == "cpu" else on_accelerator
