"""The one owner of the connection: opening, migrations, and errors with names.

WAL with synchronous=FULL: a committed row survives a kill and a power cut; a commit takes 4 ms.

A file that is no database is set aside at once. Damage inside one is found when it is met, as
checking all of it takes 12 ms per MB: the damage is then marked, and the next opening checks,
sets the file aside and goes on with what reads. Damaged files are not deleted.

What a person deletes is overwritten: SQLite zeroes the row, but pages that were split or cut, the
log and the full-text index may still hold its words, so `scrub` writes all that is left anew. A
mark beside the file says that this is due, until it is done.
"""

from __future__ import annotations

import errno
import glob
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ondevice.errors import DatabaseBusy, DatabaseTooNew, DatabaseUnusable, StorageTrouble
from ondevice.hardware.system import make_private_folder, one_at_a_time
from ondevice.storage import recovery
from ondevice.storage.schema import MIGRATIONS

BUSY_S = 5.0
RETRY_S = 0.02

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Database:
    """An open database. Safe from any thread; transactions are one at a time."""

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        """Open or create `path`; others are waited for `busy_s`. Raises StorageTrouble."""
        self.path = path
        self.set_aside: Path | None = None
        """Where a damaged database was moved, if that had to be done."""
        self.recovered = 0
        """How many messages of it could be read and are here."""
        self._busy_s = busy_s
        self._lock = threading.RLock()
        try:
            make_private_folder(path.parent)
            self._connection = self._open()
            due = self._scrub_mark.exists()
        except (OSError, sqlite3.Error) as error:
            raise named(error, path) from error
        if due:
            with suppress(StorageTrouble):  # another process has it open, and will be done some day
                self.scrub()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it durable at the end, or none. Raises StorageTrouble."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                # SQLite itself has rolled back after some errors, and a second time is an error
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._met(error) from error
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query. Raises StorageTrouble."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._met(error) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # Opening

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
        with one_at_a_time(self.path.parent):
            try:
                return self._connect()  # another process may have done it meanwhile
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
            self.set_aside = self._move_away()
            version = recovery.version_of(self.set_aside)
            connection = self._connect(version)  # so that what reads goes through the same steps
            self.recovered = recovery.copy_readable(self.set_aside, connection)
            self._migrate(connection)
            return connection

    def _connect(self, version: int = len(MIGRATIONS)) -> sqlite3.Connection:
        # Only when it is new: closing any descriptor of a file drops all locks this process has
        # on it, https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled
        if not self.path.exists():
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            self._start_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA secure_delete=ON")
            # VACUUM writes a copy of all that is left: into memory, not into temporary files
            connection.execute("PRAGMA temp_store=MEMORY")
            self._check(connection)
            self._migrate(connection, version)
        except BaseException:
            connection.close()
            raise
        return connection

    def _start_wal(self, connection: sqlite3.Connection) -> None:
        """Two processes that create one database: here SQLite itself does not wait."""
        until = time.monotonic() + self._busy_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() >= until:
                    raise
                time.sleep(RETRY_S)

    def _check(self, connection: sqlite3.Connection) -> None:
        """Look at all of it, if damage was met before."""
        if not self._damage_mark.exists():
            return
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise _with_code(sqlite3.SQLITE_CORRUPT, found)
        # No check looks into the full-text index, and all of it can be made anew.
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'found_in'").fetchone():
            connection.execute("INSERT INTO found_in(found_in) VALUES ('rebuild')")
        self._damage_mark.unlink(missing_ok=True)

    def _migrate(self, connection: sqlite3.Connection, to: int = len(MIGRATIONS)) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise DatabaseTooNew(
                f"{self.path} was written by a later version of ondevice",
                hint="Update ondevice, or set ONDEVICE_HOME to another folder.",
            )
        if version >= to:
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may be migrating too
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for step in MIGRATIONS[version:to]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(version, to)}")
        connection.execute("COMMIT")

    # Deleting for good

    @property
    def _scrub_mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}.scrub")

    def scrub_is_due(self) -> None:
        """Note, before rows are deleted, that their bytes are to go: a kill may come between."""
        try:
            self._scrub_mark.touch(mode=0o600)
        except OSError as error:
            raise named(error, self.path) from error

    def scrub(self) -> None:
        """Write the file, its index and its log anew, without what was deleted.

        Raises StorageTrouble where others read meanwhile or the disk is full; it is tried again
        at the next opening.
        """
        with self._lock:
            try:
                _scrub(self._connection)
            except sqlite3.Error as error:
                raise self._met(error) from error
            with suppress(OSError):
                self._scrub_mark.unlink(missing_ok=True)

    def set_aside_files(self) -> list[Path]:
        """Damaged databases and their logs, which may still hold what was deleted later."""
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.corrupt-*"))

    def forget_set_aside(self) -> None:
        """Delete them. Raises StorageTrouble."""
        for part in self.set_aside_files():
            try:
                part.unlink(missing_ok=True)
            except OSError as error:
                raise named(error, part) from error

    # Damage

    @property
    def _damage_mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged")

    def damage(self) -> StorageTrouble:
        """The error for rows that cannot be: SQLite reads a lost part of a page as zeros."""
        return self._met(_with_code(sqlite3.SQLITE_CORRUPT, "rows that cannot be"))

    def _met(self, error: sqlite3.Error) -> StorageTrouble:
        if _is_corrupt(error):
            with suppress(OSError):
                self._damage_mark.touch(mode=0o600)
        return named(error, self.path)

    def _move_away(self) -> Path:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        # The log first: a log without its database is ignored, one beside a new database is
        # replayed into it.
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self._damage_mark.unlink(missing_ok=True)
        return aside


def _scrub(connection: sqlite3.Connection) -> None:
    # An index entry that was deleted is only marked until its segment is merged; the option that
    # changes this came with SQLite 3.42.
    connection.execute("INSERT INTO found_in(found_in) VALUES ('rebuild')")
    # Pages that were split keep copies of rows: without this 4 of 40 databases still had words.
    connection.execute("VACUUM")
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise _with_code(sqlite3.SQLITE_BUSY, "the log is in use")


def named(error: Exception, path: Path) -> StorageTrouble:
    """The error of our tree for one of SQLite's or the system's."""
    code, system_code = _code(error), getattr(error, "errno", None)
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


def _with_code(code: int, text: str) -> sqlite3.DatabaseError:
    """An error as SQLite would have raised it."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error


def _code(error: Exception) -> int:
    """SQLite's primary code; 0 for errors of others."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_corrupt(error: sqlite3.Error) -> bool:
    return _code(error) in _CORRUPT
