"""Another process that uses the same database, and says what it has done a line at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPEN = """
import os, sys, sqlite3
from pathlib import Path
from ondevice.errors import StorageTrouble
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions
path = Path(sys.argv[1])
def say(*words): print(*words, flush=True)
def wait(): sys.stdin.readline()
"""


def start(
    code: str, path: Path, *arguments: object, under: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Run `code` after OPEN, by the command `under`. It can `say` lines and `wait` for one."""
    return subprocess.Popen(
        [*under, sys.executable, "-c", OPEN + code, str(path), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    """Let it pass its `wait`."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def outcome(process: subprocess.Popen[str]) -> list[str]:
    """All it says until its end, which must be a good one."""
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.splitlines()
