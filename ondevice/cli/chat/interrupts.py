"""Ctrl-C stops an answer, then leaves; SIGTERM and SIGHUP leave with what there is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ondevice.hardware.system import ENDING_SIGNALS

LONGEST_S = 4.0
"""After a signal that ends us; stopping an engine that hangs takes 2.5 s of it."""


class Left(KeyboardInterrupt):
    """A signal asks to leave, and nothing is being done that has to end first."""


class Interrupts:
    """Hands signals to what is being done; while nothing is, they interrupt the waiting."""

    def __init__(self, stay: bool) -> None:
        """With `stay`, Ctrl-C stops what is being done; without, it also leaves."""
        self.code = 0
        """128 + n after a signal that leaves."""
        self.stopped = False
        """Whether Ctrl-C stopped what was done last."""
        self._stay = stay
        self._stop: Callable[[], object] | None = None

    def listen(self) -> None:
        """From now on, in the main thread."""
        for number in (signal.SIGINT, *ENDING_SIGNALS):
            signal.signal(number, self._caught)

    @contextmanager
    def stopping(self, stop: Callable[[], object]) -> Iterator[None]:
        """While this is entered, a signal calls `stop`, in a thread of its own."""
        self.stopped, self._stop = False, stop
        try:
            yield
        finally:
            self._stop = None

    def leave_if_asked(self) -> None:
        """Raises Left after a signal that leaves."""
        if self.code:
            raise Left

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        stays = number == signal.SIGINT and self._stay
        if not stays and not self.code:
            self.code = 128 + number
            threading.Thread(target=_end_at_last, args=(self.code,), daemon=True).start()
        if self._stop is not None:
            self.stopped = True
            # a thread, as the main one, which is here, may hold a lock that stopping needs
            threading.Thread(target=self._stop, daemon=True).start()
        elif stays:
            raise KeyboardInterrupt
        else:
            raise Left


def _end_at_last(code: int) -> NoReturn:
    """The main thread may be stuck, writing to a terminal that takes nothing; the next start
    marks a half answer."""
    time.sleep(LONGEST_S)
    os._exit(code)
