"""What a test knows of a command that runs or has ended."""

from __future__ import annotations

import signal
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SCRIPT = Path(sysconfig.get_path("scripts")) / "ondevice"
PATIENCE_S = 100


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]
StartCli = Callable[..., subprocess.Popen[bytes]]


def assert_ctrl_c_ends(window: Any) -> None:
    """What runs on a terminal, without a word."""
    window.sendintr()
    rest = window.read()
    window.close()
    assert window.exitstatus == 130
    assert b"Traceback" not in rest
    assert b"ondevice:" not in rest


def child_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The engine's process; there is one."""
    (child,) = psutil.Process(process.pid).children()
    return child


def assert_ended(child: psutil.Process) -> None:
    """Its parent is gone, so it must be, or become so by itself."""
    gone, alive = psutil.wait_procs([child], timeout=20)
    for process in alive:
        process.send_signal(signal.SIGKILL)
    assert gone, "the engine outlived the command"
