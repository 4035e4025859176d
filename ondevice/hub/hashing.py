"""The hash that names a file, computed while its bytes come."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from ondevice.domain.download import RemoteFile

AHEAD = 4
"""Pieces that may wait to be hashed."""


class Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def content_hash(file: RemoteFile) -> Hash:
    """The beginning of the hash that names `file`: sha256, or git's of a blob."""
    if len(file.content_hash) == 64:
        return hashlib.sha256()
    begun = hashlib.sha1(usedforsecurity=False)
    begun.update(b"blob %d\0" % file.size_bytes)
    return begun


class HashAside:
    """A hash that is computed in a thread of its own, beside reading and writing: as long as both
    together on some processors. What it is given must not change.
    """

    def __init__(self, begun: Hash) -> None:
        self._hash = begun
        self._thread = ThreadPoolExecutor(1, "hash")
        self._waiting: deque[Future[None]] = deque()

    def begin(self, begun: Hash) -> None:
        """Another one, of which nothing is given yet."""
        self._catch_up()
        self._hash = begun

    def update(self, data: bytes | memoryview) -> None:
        """Take `data`; waits where much is given already."""
        self._waiting.append(self._thread.submit(self._hash.update, data))
        self._catch_up(AHEAD)

    def hexdigest(self) -> str:
        """Of all that was given."""
        self._catch_up()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _catch_up(self, waiting: int = 0) -> None:
        while len(self._waiting) > waiting:
            self._waiting.popleft().result()
