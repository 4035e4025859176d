"""Token bytes in, whole characters out, ending at a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns pieces of bytes into text that can be shown at once.

    A character split over tokens waits for its last byte; text that may be the beginning of a
    stop string waits until it is one or cannot be one.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Text that is now certain; empty while it is not. Sets `stopped` at a stop string."""
        return self._certain(self._decoder.decode(piece))

    def finish(self, cut: bool = False) -> str:
        """What was still held back; broken bytes become U+FFFD.

        `cut` says that more would have come: half a character at the end is then nobody's fault.
        """
        if self.stopped:
            return ""
        text = "" if cut else self._certain(self._decoder.decode(b"", final=True))
        text, self._held = text + self._held, ""
        return text

    def _certain(self, text: str) -> str:
        if not self._stop:
            return text
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:  # the first to be complete, so that it does not matter how the text was split
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        hold = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
