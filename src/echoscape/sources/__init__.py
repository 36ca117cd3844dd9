"""Sources: recorded sets replayed in their own time, and streams that go into a store as they come.

A stream is lines of JSON, or messages over ZeroMQ of which each is answered once it is kept.

Takes files of reports, echoes or samples; lines and messages.
Gives batches, and what became of them in a store.
"""

from echoscape.sources.batch import Batch, from_line, from_parts, to_line, to_parts
from echoscape.sources.keep import keep
from echoscape.sources.replay import read_recorded, replay
from echoscape.sources.zeromq import Sender, receive

__all__ = [
    "Batch",
    "Sender",
    "from_line",
    "from_parts",
    "keep",
    "read_recorded",
    "receive",
    "replay",
    "to_line",
    "to_parts",
]


def __dir__() -> list[str]:
    return sorted(__all__)
