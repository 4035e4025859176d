"""A process that ends with the one that started it, however that one ended."""

from __future__ import annotations

import os
import signal
import threading

from ondevice.hardware.system import die_with_parent

STDIN = 0


def end_with_parent(parent_pid: int) -> None:
    """From now on. `stdin` is a pipe whose other end the parent holds.

    On Linux the kernel does it at once; elsewhere, and where a thread of the parent that we hang on
    goes on, the end of the pipe asks us to end, as SIGTERM does.
    """
    die_with_parent(parent_pid)
    threading.Thread(target=_end_with_stdin, name="parent", daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(STDIN, 1):  # not through `sys.stdin`: its lock would be held when we exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
