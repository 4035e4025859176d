"""The header of a GGUF model that is not here: the first bytes of its files, asked for by Range."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ondevice.domain.download import RemoteFile
from ondevice.errors import HubUnreachable
from ondevice.gguf.cursor import Readable
from ondevice.gguf.header import Header, Part, header_of, later_part_from, part_from
from ondevice.hub import answers
from ondevice.hub.remote import Hub

MOST_BYTES = 32 << 20
"""The largest vocabularies in use make headers of about 10 MB."""
PATIENCE_S = 60.0


def remote_header(hub: Hub, file: RemoteFile, *later: RemoteFile) -> Header:
    """What `file` says, with the tensors of the `later` parts of a split model.

    Read as it comes, and no further. Raises DownloadTrouble and ModelTrouble.
    """
    first = _part_of(hub, file, part_from)
    return header_of(first, *(_part_of(hub, each, later_part_from) for each in later))


def _part_of(hub: Hub, file: RemoteFile, read_from: Callable[[Readable, int], Part]) -> Part:
    most = min(MOST_BYTES, file.size_bytes)
    deadline = time.monotonic() + PATIENCE_S  # of all attempts: somebody waits

    def read() -> Part:
        with hub.beginning(file, max(1, most)) as body:
            return read_from(_Stream(body.chunks(), most, deadline), file.size_bytes)

    return hub.again(read)


class _Stream:
    """Chunks of any size, read in pieces of a wanted one."""

    def __init__(self, chunks: Iterator[bytes], due_bytes: int, deadline: float) -> None:
        self._chunks, self._due_bytes, self._deadline = chunks, due_bytes, deadline
        self._held = b""

    def read(self, size: int, /) -> bytes:
        if not self._held and self._due_bytes > 0:
            self._held = next(self._chunks, b"")
            self._due_bytes -= len(self._held)
            if not self._held or time.monotonic() > self._deadline:
                raise HubUnreachable("the header did not come", answers.CHECK)
        piece, self._held = self._held[:size], self._held[size:]
        return piece
