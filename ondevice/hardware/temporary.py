"""Folders and files that do not outlive the process that made them, even when it is killed.

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
from ondevice.hardware import system
from ondevice.hardware.locks import hold, is_free

PREFIX: Final = "ondevice-temporary-"
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
        raise _refused(base, error) from error
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def temporary_file(parent: Path) -> Iterator[Path]:
    """An empty file on the disk of `parent`, which is made; only this user can open it, by the path
    given.

    On Linux it has no name in any folder, so that it ends with this process, however that ends.
    Elsewhere it lies in a temporary folder.
    """
    try:
        system.make_private_folder(parent)
    except OSError as error:
        raise _refused(parent, error) from error
    with _unnamed(parent) as path:
        if path is not None:
            yield path
            return
    with temporary_folder(parent) as folder:
        path = folder / "data"
        path.touch(mode=0o600)
        yield path


@contextlib.contextmanager
def _unnamed(parent: Path) -> Iterator[Path | None]:
    """The way to a file without a name, through what this process holds; None where none leads."""
    if not system.is_linux():
        yield None
        return
    try:
        file = tempfile.TemporaryFile(dir=parent)  # noqa: SIM115 - closed below
    except OSError as error:
        raise _refused(parent, error) from error
    with file:
        path = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        yield path if path.exists() else None


def _refused(parent: Path, error: OSError) -> UsageTrouble:
    return UsageTrouble(
        f"nothing temporary can be made in {str(parent)!r}: {error.strerror or error}",
        "Name another folder, or set TMPDIR.",
    )


def sweep(base: Path) -> int:
    """Remove the folders under `base` whose owners are gone; returns how many."""
    swept = 0
    for folder in base.glob(f"{PREFIX}*"):
        if folder.is_symlink() or not is_free(folder / _LOCK):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        swept += not folder.exists()
    return swept
