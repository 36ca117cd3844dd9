"""How work that takes long says how far it is: one protocol, the same from code and on a terminal.

Takes nothing.
Gives `Progress`, the type of every ``progress`` argument, and helpers for work in parts and for
iterations that are compiled.
"""

from collections.abc import Callable
from typing import TypeVar

Progress = Callable[[float | int, float | int, str], None]
"""Called as ``progress(done, total, stage)``: how much is done, of how much, and what is being
done, such as "compiling", "grid" or "refining".  ``print`` will do."""
ROUND = 25
"""Iterations that a compiled loop makes between two calls."""
_Carry = TypeVar("_Carry")


def silent(done: float | int, total: float | int, stage: str = "") -> None:
    """Show nothing: stands for a progress that was not given."""


def within(progress: Progress | None, stage: str) -> Progress:
    """Name the whole in front of the stages of a part, such as a station; None shows nothing."""
    if progress is None:
        return silent

    def tell(done: float | int, total: float | int, part: str = "") -> None:
        progress(done, total, f"{stage}, {part}" if part else stage)

    return tell


def in_rounds(
    advance: Callable[[_Carry, int], _Carry],
    carry: _Carry,
    made: Callable[[_Carry], int],
    most: int,
    progress: Progress | None,
) -> _Carry:
    """Run a compiled loop of iterations, in rounds of `ROUND` where somebody watches.

    Args:
        advance: Goes on until so many iterations are made in all, or until it is done.
        carry: What the loop starts from.
        made: Counts the iterations of a carry.
        most: The most iterations.
        progress: Called before each round; without it the loop runs in one go.
    """
    done = made(carry)
    while True:
        until = most
        if progress is not None:
            progress(done, most, f"{most} iterations at most" + (", compiling" if not done else ""))
            until = min(done + ROUND, most)
        carry = advance(carry, until)
        before, done = done, made(carry)
        if done >= most or done < until or done == before:
            return carry
