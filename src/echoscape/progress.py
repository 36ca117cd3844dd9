"""How work that takes long says how far it is: one protocol, the same from code and on a terminal.

Takes nothing.
Gives `Progress`, the type of every ``progress`` argument, and a helper for work in parts.
"""

from collections.abc import Callable

Progress = Callable[[float | int, float | int, str], None]
"""Called as ``progress(done, total, stage)``: how much is done, of how much, and what is being
done, such as "compiling", "grid" or "refining".  ``print`` will do."""


def silent(done: float | int, total: float | int, stage: str = "") -> None:
    """Show nothing: stands for a progress that was not given."""


def within(progress: Progress | None, stage: str) -> Progress:
    """Name the whole in front of the stages of a part, such as a station; None shows nothing."""
    if progress is None:
        return silent

    def tell(done: float | int, total: float | int, part: str = "") -> None:
        progress(done, total, f"{stage}, {part}" if part else stage)

    return tell
