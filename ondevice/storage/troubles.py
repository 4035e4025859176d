"""What SQLite and the system answer, as errors of our tree."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from ondevice.errors import DatabaseBusy, DatabaseUnusable, StorageTrouble

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_FAILS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def named(error: Exception, path: Path) -> StorageTrouble:
    """The error of our tree for one of SQLite's or the system's."""
    code, system_code = code_of(error), getattr(error, "errno", None)
    if code in _BUSY:
        return DatabaseBusy(f"{path} is in use by another process", hint="Close it and try again.")
    if code in _CORRUPT:
        return DatabaseUnusable(
            f"{path} is damaged",
            hint="Start ondevice again: the file is then set aside, and what reads is kept.",
        )
    if code in _NOT_WRITABLE or system_code in _NOT_ALLOWED:
        return DatabaseUnusable(
            f"{path} cannot be written", hint="Check its permissions, or set ONDEVICE_HOME."
        )
    if code == sqlite3.SQLITE_FULL or system_code in _NO_SPACE:
        return DatabaseUnusable(f"no space is left for {path}", hint="Free some disk space.")
    reason = getattr(error, "strerror", None) or str(error)
    return DatabaseUnusable(f"{path}: {reason}", hint="Check the disk, or set ONDEVICE_HOME.")


def with_code(code: int, text: str) -> sqlite3.DatabaseError:
    """An error as SQLite would have raised it."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error


def code_of(error: Exception) -> int:
    """SQLite's primary code; 0 for errors of others."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_corrupt(error: sqlite3.Error) -> bool:
    return code_of(error) in _CORRUPT


def is_busy(error: sqlite3.Error) -> bool:
    return code_of(error) in _BUSY


def is_about_a_place(error: Exception) -> bool:
    """Whether the disk or another process is in the way, and not what a file holds."""
    return code_of(error) in (*_BUSY, *_NOT_WRITABLE, *_FAILS)
