"""Time limits of whole answers. A client's own are for every read, and bytes can trickle.

What takes too long is cut: its connection is shut down by a thread of its own, and who reads from
it meets its end.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any


class Deadline:
    """Of one client, which waits for one answer at a time."""

    def __init__(self) -> None:
        self.is_over = False
        """Whether the last wait was cut."""
        self._streams: list[Any] = []
        self._until: float | None = None
        self._moved = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Hears what the client does, as its `trace` extension tells it: connections are opened."""
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        with self._moved:
            opened = [each for each in self._streams if _socket(each).fileno() != -1]
            self._streams = [*opened, info["return_value"]]
            if self.is_over:  # it took too long to connect
                self._cut()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is waited for meanwhile is cut after `seconds`."""
        with self._moved:
            self.is_over, self._until = False, time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)
                self._thread.start()
            self._moved.notify()
        try:
            yield
        finally:
            with self._moved:
                self._until = None

    def close(self) -> None:
        """End the thread."""
        with self._moved:
            self._closed = True
            self._moved.notify()

    def _watch(self) -> None:
        with self._moved:
            while not self._closed:
                left = None if self._until is None else self._until - time.monotonic()
                if left is not None and left <= 0:
                    self.is_over, self._until = True, None
                    self._cut()
                else:
                    self._moved.wait(left)

    def _cut(self) -> None:
        for each in self._streams:
            with contextlib.suppress(OSError):  # it is closed already
                # an SSLSocket's own would take its TLS from under who reads
                socket.socket.shutdown(_socket(each), socket.SHUT_RDWR)


def _socket(stream: Any) -> socket.socket:
    """Of a connection of httpcore2."""
    found: socket.socket = stream.get_extra_info("socket")
    return found
