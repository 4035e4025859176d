"""Files opened without surprises, and let go of by memory, as far as the system offers that."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

_BINARY = getattr(os, "O_BINARY", 0)


def open_private(path: Path) -> FileIO:
    """For reading and writing, unbuffered, only for us (0600); made if it is not there.

    Raises OSError, also for a link in its place, which would lead elsewhere.
    """
    flags = os.O_RDWR | os.O_CREAT | _BINARY | getattr(os, "O_NOFOLLOW", 0)
    return FileIO(os.open(path, flags, 0o600), "r+b")


def open_regular(path: Path) -> FileIO:
    """A file for reading, unbuffered; a pipe in its place is not waited for. Raises OSError."""
    opened = FileIO(os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError("it is not a file")
    return opened


def drop_pages(file: FileIO, start: int = 0, length: int = 0) -> None:
    """Let memory go of `length` bytes of a file, or all: what is written begins to go to the disk,
    and what is read comes from there.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, length, os.POSIX_FADV_DONTNEED)
