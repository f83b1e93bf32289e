"""What a server and its workers say to each other: JSON lines, some followed by raw bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..errors import DataError

__all__ = ["LONGEST_LINE", "Messages", "Wire", "pack"]

LONGEST_LINE = 16 << 20
_LONGEST_PAYLOAD = 64 << 20


def pack(message: dict[str, Any], payload: bytes = b"") -> bytes:
    """One message as it goes over the pipe."""
    if payload:
        message = {**message, "bytes": len(payload)}
    return json.dumps(message).encode() + b"\n" + payload


class Wire:
    """A worker's end of the pipes. Any thread may send."""

    def __init__(self, given: BinaryIO, out: BinaryIO) -> None:
        self._given = given
        self._out = out
        self._lock = threading.Lock()

    def send(self, event: str, payload: bytes = b"", **fields: Any) -> None:
        """Tell the server something."""
        with self._lock:
            self._out.write(pack({"event": event, **fields}, payload))
            self._out.flush()

    def read(self) -> tuple[dict[str, Any], bytes] | None:
        """The next message of the server; None when it has gone.

        Raises:
            DataError: it is no message.
        """
        line = self._given.readline(LONGEST_LINE)
        if not line:
            return None
        message = json.loads(line)
        length = message.pop("bytes", 0)
        if not 0 <= length <= _LONGEST_PAYLOAD:
            raise DataError(f"a message announces {length} bytes")
        return message, self._given.read(length) if length else b""


class Messages:
    """What the server sends while a task runs, read by a thread of its own.

    Attributes:
        stopped: Set when the server asks for an end, or has gone.
    """

    def __init__(self, wire: Wire) -> None:
        self.stopped = threading.Event()
        self._wire = wire
        self._change = threading.Condition()
        self._orders: list[dict[str, Any]] = []
        self._picture: tuple[dict[str, Any], bytes] | None = None
        threading.Thread(target=self._run, name="messages", daemon=True).start()

    def _run(self) -> None:
        try:
            while (read := self._wire.read()) is not None:
                message, payload = read
                with self._change:
                    if message.get("stop"):
                        self.stopped.set()
                    elif payload:
                        self._picture = (message, payload)  # only the newest is worth tracking
                    else:
                        self._orders.append(message)
                    self._change.notify_all()
        finally:
            with self._change:
                self.stopped.set()
                self._change.notify_all()

    def orders(self) -> list[dict[str, Any]]:
        """Messages without a picture that came since the last call."""
        with self._change:
            orders, self._orders = self._orders, []
        return orders

    def pictures(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Messages with a picture, as they come; those that nobody fetched in time are dropped."""
        while True:
            with self._change:
                while self._picture is None and not self.stopped.is_set():
                    self._change.wait(0.5)
                if self.stopped.is_set():
                    return
                picture, self._picture = self._picture, None
            assert picture is not None
            yield picture
