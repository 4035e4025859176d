"""Leaving when a signal asks: in good order, or else at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from ondevice.hardware.system import ENDING_SIGNALS

LONGEST_S = 4.0
"""After a signal; stopping an engine that hangs takes 2.5 s of it."""


def on_signals(leave: Callable[[int], object]) -> None:
    """Call `leave` with an exit code on a signal; Textual would leave the terminal as it is."""

    def caught(number: int, _frame: object) -> None:
        # A thread, as the main one may be stuck: writing to a terminal that takes nothing.
        threading.Thread(target=_soon, args=(leave, 128 + number), daemon=True).start()

    for number in ENDING_SIGNALS:
        signal.signal(number, caught)


def _soon(leave: Callable[[int], object], code: int) -> None:
    """Leave in good order, or else at once; the next start marks a half answer."""
    leave(code)
    time.sleep(LONGEST_S)
    os._exit(code)
