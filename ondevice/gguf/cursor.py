"""Read a header front to back: every length is checked before anything is read or allocated."""

from __future__ import annotations

import struct
from typing import Final, Protocol

from ondevice.errors import NotAModelFile
from ondevice.gguf.tables import SCALARS

MAX_HEADER_BYTES: Final = 256 * 2**20
"""The largest vocabularies in use make headers of about 10 MB."""
FETCH_BYTES: Final = 256 * 1024

DAMAGED: Final = "The file is damaged or incomplete: download it again."

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Readable(Protocol):
    """What a header can be read from: an open file, or Range requests behind one method."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def damaged(message: str) -> NotAModelFile:
    """The error for bytes that contradict the format or themselves."""
    return NotAModelFile(message, DAMAGED)


def shown(raw: bytes | str) -> str:
    """A name out of the file, quoted, escaped and short, for an error's one line."""
    text = raw if isinstance(raw, str) else raw[:256].decode("utf-8", "replace")
    return repr(text if len(text) <= 60 else text[:59] + "…")


class Cursor:
    """A position in a stream of `size` bytes that never passes its end nor the header's limit."""

    def __init__(self, source: Readable, size: int) -> None:
        self._source = source
        self._size = size
        self._buffer = b""
        self._at = 0
        self._fetched = 0

    @property
    def offset(self) -> int:
        """How many bytes of the stream are behind."""
        return self._fetched - len(self._buffer) + self._at

    @property
    def remaining(self) -> int:
        """How many bytes the header may still have."""
        return min(self._size, MAX_HEADER_BYTES) - self.offset

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        value: int = _U32.unpack(self.take(4))[0]
        return value

    def u64(self) -> int:
        """The next unsigned 64-bit number."""
        value: int = _U64.unpack(self.take(8))[0]
        return value

    def scalar(self, kind: int) -> int | float:
        """The next value of a numeric type."""
        form = SCALARS[kind]
        value: int | float = form.unpack(self.take(form.size))[0]
        return value

    def take(self, count: int) -> bytes:
        """The next `count` bytes; callers bound `count` where the file chooses it."""
        self._need(count)
        start = self._at
        self._at += count
        return self._buffer[start : self._at]

    def skip(self, count: int) -> None:
        """Pass over `count` bytes without keeping them."""
        self._check(count)
        while (held := len(self._buffer) - self._at) < count:
            count -= held
            self._at = len(self._buffer)
            self._need(1)
        self._at += count

    def skip_strings(self, count: int) -> None:
        """Pass over `count` strings; one small integer each, no other object."""
        self._check(8 * count)
        while count:
            self._need(8)
            at, count = _pass_strings(self._buffer, self._at, count)
            # The last string may reach past what is held.
            beyond = max(0, at - len(self._buffer))
            self._at = at - beyond
            self.skip(beyond)

    def _check(self, count: int) -> None:
        if count <= self.remaining:
            return
        if self.offset + count > self._size:
            raise damaged("the file ends in the middle of its header")
        raise damaged(f"the header is larger than {MAX_HEADER_BYTES // 2**20} MB")

    def _need(self, count: int) -> None:
        """Hold at least `count` bytes from here on."""
        if len(self._buffer) - self._at >= count:
            return
        self._check(count)
        pieces = [self._buffer[self._at :]]
        held = len(pieces[0])
        while held < count:
            piece = self._source.read(
                min(max(FETCH_BYTES, count - held), self._size - self._fetched)
            )
            if not piece:
                raise damaged("the file ends in the middle of its header")
            pieces.append(piece)
            held += len(piece)
            self._fetched += len(piece)
        self._buffer = b"".join(pieces)
        self._at = 0


def _pass_strings(buffer: bytes, at: int, count: int) -> tuple[int, int]:
    """Where the strings from `at` on end, and how many of `count` are still to come."""
    # The hot loop of every header: 262,144 rounds for a Gemma vocabulary.
    read_length = _U64.unpack_from
    last = len(buffer) - 8
    for left in range(count, 0, -1):
        if at > last:
            return at, left
        at += 8 + read_length(buffer, at)[0]
    return at, 0
