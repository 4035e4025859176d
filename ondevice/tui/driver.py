"""Textual's driver for a terminal that is pasted into, sends anything, and may go away.

Textual 8.2 reads a paste character by character (17 s of CPU for 10 MB), ends on a byte that is
not UTF-8, and waits forever for a terminal that no longer takes output. POSIX only.
"""

from __future__ import annotations

import os
import selectors
import signal
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from textual import events
from textual._xterm_parser import XTermParser  # the parser every driver of Textual uses
from textual.drivers.linux_driver import LinuxDriver

from ondevice.domain.text import clean

LONGEST_PASTE = 400_000
"""Characters handed on: more than any context here holds, and where editing gets slow."""

_START, _END = "\x1b[200~", "\x1b[201~"
_READ_BYTES = 1 << 16
_TICK_S = 0.1


class TerminalDriver(LinuxDriver):
    """Reads in large steps, takes pastes out of the stream, hangs up when the terminal is gone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Screen(self._file)

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events until the driver stops."""
        parser, gate = XTermParser(self._debug), PasteGate()
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if not selector.select(_TICK_S):
                    pieces = gate.rest()
                elif data := self._read():
                    pieces = gate.pass_on(decode(data))
                else:
                    os.kill(os.getpid(), signal.SIGHUP)
                    return
                for piece in pieces:
                    self._dispatch(piece, parser)
                for event in parser.tick():
                    self.process_message(event)

    def _read(self) -> bytes:
        """What is there; nothing when the terminal is gone."""
        with suppress(OSError):
            return os.read(self.fileno, _READ_BYTES)
        return b""

    def _dispatch(self, piece: str | events.Paste, parser: XTermParser) -> None:
        for event in [piece] if isinstance(piece, events.Paste) else parser.feed(piece):
            self.process_message(event)


class PasteGate:
    """Splits input into plain text and whole pastes, of which it holds a bounded part."""

    def __init__(self, limit: int = LONGEST_PASTE) -> None:
        self._limit = limit
        self._held = ""
        """The end of what came, as long as it may be the beginning of a mark."""
        self._paste: list[str] | None = None
        """None outside a paste."""
        self._length = 0

    def pass_on(self, text: str) -> Iterator[str | events.Paste]:
        """The pieces of `text` that are complete, in order."""
        text, self._held = self._held + text, ""
        while text:
            inside = self._paste is not None
            before, mark, text = text.partition(_END if inside else _START)
            if not mark:
                before, self._held = _split_half_mark(before, inside)
            if inside:
                self._keep(before)
            elif before:
                yield before
            if mark and inside:
                yield self._end_paste()
            elif mark:
                self._paste = []

    def rest(self) -> Iterator[str | events.Paste]:
        """What was held back and turned out to be no mark, when nothing follows."""
        if self._paste is None and self._held:
            held, self._held = self._held, ""
            yield held

    def _keep(self, text: str) -> None:
        """One character more than the limit is kept, so that the receiver sees it was passed."""
        assert self._paste is not None
        room = self._limit + 1 - self._length
        if room > 0 and text:
            self._paste.append(text[:room])
            self._length += len(self._paste[-1])

    def _end_paste(self) -> events.Paste:
        assert self._paste is not None
        text = "".join(self._paste).replace("\r\n", "\n").replace("\r", "\n")
        self._paste, self._length = None, 0
        return events.Paste(clean(text))


def _split_half_mark(text: str, inside: bool) -> tuple[str, str]:
    """`text` in two, the second being the longest end that may begin a mark.

    Outside a paste a lone escape is a key, so it is not held back.
    """
    mark, shortest = (_END, 1) if inside else (_START, 2)
    for length in range(len(mark) - 1, shortest - 1, -1):
        if text.endswith(mark[:length]):
            return text[:-length], text[-length:]
    return text, ""


class _Screen:
    """A file that takes writes for a terminal that is gone."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()
