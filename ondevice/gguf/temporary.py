"""Folders that do not outlive the process that made them, even when it is killed.

A killed process removes nothing, so each folder holds a lock that the system lets go when its
owner ends, and the next process that makes a folder sweeps those whose lock is free. A lock tells
more than a process id, which another process may have by then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ondevice.errors import UsageTrouble
from ondevice.hardware.locks import hold, is_free

PREFIX: Final = "ondevice-shapes-"
_LOCK: Final = "in-use"


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder under `parent` (the system's temporary folder), removed at the end."""
    base = parent or Path(tempfile.gettempdir())
    sweep(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
        lock = hold(folder / _LOCK)
    except OSError as error:
        raise UsageTrouble(
            f"no temporary folder can be made in {str(base)!r}: {error.strerror or error}",
            "Name another folder, or set TMPDIR.",
        ) from error
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(base: Path) -> int:
    """Remove the folders under `base` whose owners are gone; returns how many."""
    swept = 0
    for folder in base.glob(f"{PREFIX}*"):
        if folder.is_symlink() or not is_free(folder / _LOCK):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        swept += not folder.exists()
    return swept
