"""Batches over ZeroMQ: a sender asks, a receiver answers when the batch is kept or says why not.

So a sender knows what is kept, and sends the rest again after a fault; rows stand once in a store
however often they come.  Nothing is encrypted and nobody is asked who they are: the receiver
listens to this machine unless another address is given.

Takes batches.
Gives answers, `{"new": 30, "repeated": 0}` or `{"problem": SENTENCE}`; needs the extra ``stream``.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from echoscape.checks import InputError
from echoscape.extras import need
from echoscape.sources.batch import Batch, from_parts, to_parts
from echoscape.store import Added

LARGEST = 64 * 2**20
"""Largest message that is taken [byte]."""


def _socket(kind: str, address: str, patience: float, enter: str) -> Any:
    need("stream", "a stream over ZeroMQ", "send lines of JSON through a pipe")
    import zmq

    socket = zmq.Context.instance().socket(getattr(zmq, kind))
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    socket.setsockopt(zmq.RCVTIMEO, int(1000 * patience))
    socket.setsockopt(zmq.SNDTIMEO, int(1000 * patience))
    try:
        getattr(socket, enter)(address)
    except zmq.ZMQError as error:
        socket.close()
        raise InputError(
            f"{address!r} cannot be used: {error}; write tcp://127.0.0.1:PORT with a free port, or "
            "ipc://FILE"
        ) from error
    return socket


class Sender:
    """Sends batches to one receiver; close it, or use it as a context."""

    def __init__(self, address: str, patience: float = 30.0):
        """Connect.

        Args:
            address: Of the receiver, such as tcp://127.0.0.1:8790.
            patience: How long an answer may take [s].
        """
        self._address, self._patience = address, patience
        self._socket = _socket("REQ", address, patience, "connect")

    def send(self, batch: Batch) -> Added:
        """Send a batch, and wait until it is kept.

        Args:
            batch: What to send.

        Raises:
            InputError: The receiver refused it, or does not answer.
        """
        import zmq

        try:
            self._socket.send_multipart(to_parts(batch))
            said = json.loads(self._socket.recv())
        except zmq.Again:
            raise InputError(
                f"nobody answered at {self._address} within {self._patience:g} s: is "
                "`echoscape stream keep` running there? What was answered before is kept"
            ) from None
        if "problem" in said:
            raise InputError(f"the receiver refused a batch: {said['problem']}")
        return Added(**said)

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def receive(
    address: str, take: Callable[[Batch], Added], is_ending: Callable[[], bool] = lambda: False
) -> Iterator[tuple[Batch | None, Added | InputError]]:
    """Answer batches until it is time to end; gives each with what became of it.

    Args:
        address: To listen at, such as tcp://127.0.0.1:8790.
        take: Keeps a batch, or raises an `InputError` that is sent back.
        is_ending: Whether to end; asked twice a second.
    """
    import zmq

    socket = _socket("REP", address, 0.5, "bind")
    try:
        while not is_ending():
            try:
                parts = socket.recv_multipart()
            except zmq.Again:
                continue
            batch = None
            try:
                if len(parts) != 2:
                    raise InputError(f"a message has two parts, head and body; got {len(parts)}")
                batch = from_parts(*parts)
                added = take(batch)
            except InputError as error:
                socket.send(json.dumps({"problem": str(error)}).encode())
                yield batch, error
                continue
            socket.send(json.dumps(added._asdict()).encode())
            yield batch, added
    finally:
        socket.close()
