"""A flag that llama.cpp looks at while it computes."""

from __future__ import annotations

import ctypes
from typing import Any

from ondevice.errors import EngineTrouble
from ondevice.hardware import system

ABORTED = 2
"""llama_decode's answer where it was told to stop."""


class StopFlag:
    """Set from any thread; keep it alive as long as the context that it is attached to.

    llama.cpp asks between any two of the hundreds of operations of a token. A Python function as
    its callback cost 2 % of decoding (docs/results.md); so it asks the C library's `strlen`, which
    is 0, that is false, as long as the flag's first byte is.
    """

    def __init__(self) -> None:
        self._flag = (ctypes.c_char * 2)()
        self._strlen = system.c_library().strlen

    def attach(self, lib: Any, context: Any) -> None:
        """Let `context` stop where it is, as soon as the flag is set."""
        callback = ctypes.cast(self._strlen, lib.ggml_abort_callback)
        lib.llama_set_abort_callback(context, callback, ctypes.cast(self._flag, ctypes.c_void_p))

    def is_set(self) -> bool:
        return self._flag[0] != b"\0"

    def set(self) -> None:
        self._flag[0] = b"\1"

    def ended(self, answer: int) -> bool:
        """Whether an evaluation with this answer of llama_decode was stopped.

        Raises EngineTrouble where it failed.
        """
        if answer not in (0, ABORTED):
            raise EngineTrouble(f"llama.cpp could not evaluate the tokens (code {answer})")
        return answer == ABORTED or self.is_set()

    def clear(self) -> None:
        self._flag[0] = b"\0"
