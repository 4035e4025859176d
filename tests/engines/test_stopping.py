"""The flag that llama.cpp reads while it computes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from ondevice.engines.llamacpp.stopping import StopFlag


class Library:
    """What `attach` uses of llama.cpp."""

    ggml_abort_callback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)

    def __init__(self) -> None:
        self.asked: tuple[Any, Any] | None = None

    def llama_set_abort_callback(self, _context: Any, callback: Any, data: Any) -> None:
        self.asked = callback, data

    def would_stop(self) -> bool:
        """What llama.cpp is told, through C."""
        assert self.asked is not None
        callback, data = self.asked
        return bool(callback(data))


@pytest.fixture
def attached() -> tuple[StopFlag, Library]:
    flag, library = StopFlag(), Library()
    flag.attach(library, None)
    return flag, library


def test_nothing_stops_until_it_is_set(attached: tuple[StopFlag, Library]) -> None:
    flag, library = attached
    assert not flag.is_set()
    assert not library.would_stop()


def test_a_set_flag_is_seen_by_c_code(attached: tuple[StopFlag, Library]) -> None:
    flag, library = attached
    flag.set()
    assert flag.is_set()
    assert library.would_stop()


def test_a_cleared_flag_lets_the_next_run_go_on(attached: tuple[StopFlag, Library]) -> None:
    flag, library = attached
    flag.set()
    flag.clear()
    assert not flag.is_set()
    assert not library.would_stop()
