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

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ondevice.errors import DatabaseTooNew, DatabaseUnusable, StorageTrouble
from ondevice.hardware.system import make_private_folder, one_at_a_time
from ondevice.storage import recovery
from ondevice.storage.schema import MIGRATIONS, migrate
from ondevice.storage.troubles import is_busy, is_corrupt, named, with_code

BUSY_S = 5.0
RETRY_S = 0.02
CACHE_KB = 256
"""Of pages in this process, whose memory is shown: the system keeps those of the file as well."""


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
        self._place = (0, 0)
        """See `_place_of`; of the open file."""
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
        """All of it durable at the end, or none. Raises StorageTrouble.

        Also where another process has set the file aside: what is written there is lost from view.
        It does not go on in the new one, where numbers that callers hold may mean others.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._refuse_moved()
                yield self._connection
                self._connection.execute("COMMIT")
                self._refuse_moved()  # it may have been read for the new one before the commit
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
            except OverflowError:  # a number of more than 64 bits, which no row has
                return []
            except sqlite3.Error as error:
                raise self._met(error) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # Opening

    def _open(self) -> sqlite3.Connection:
        with one_at_a_time(self.path.parent):  # none opens what another one moves away
            damaged = recovery.begun(self.path)
            try:
                if damaged is None:
                    return self._connect()
            except sqlite3.DatabaseError as error:
                if not is_corrupt(error):
                    raise
            self.set_aside = damaged or recovery.set_aside(self.path)
            self.recovered = recovery.recover(self.set_aside, self.path)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
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
            connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")
            self._check(connection)
            self._refuse_too_new(connection)
            migrate(connection)
            self._place = _place_of(self.path)
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
                if not is_busy(error) or time.monotonic() >= until:
                    raise
                time.sleep(RETRY_S)

    def _check(self, connection: sqlite3.Connection) -> None:
        """Look at all of it, if damage was met before."""
        if not recovery.mark_of(self.path).exists():
            return
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise with_code(sqlite3.SQLITE_CORRUPT, found)
        # No check looks into the full-text index, and all of it can be made anew.
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'found_in'").fetchone():
            connection.execute("INSERT INTO found_in(found_in) VALUES ('rebuild')")
        recovery.mark_of(self.path).unlink(missing_ok=True)

    def _refuse_too_new(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise DatabaseTooNew(
                f"{self.path} was written by a later version of ondevice",
                hint="Update ondevice, or set ONDEVICE_HOME to another folder.",
            )

    def _refuse_moved(self) -> None:
        try:
            moved = _place_of(self.path) != self._place
        except FileNotFoundError:
            moved = True
        except OSError as error:
            raise named(error, self.path) from error
        if moved:
            raise DatabaseUnusable(
                f"{self.path} was set aside as damaged by another process, or moved",
                hint="Start ondevice again to go on with what is there now.",
            )

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
            self._refuse_moved()
            try:
                _scrub(self._connection)
            except sqlite3.Error as error:
                raise self._met(error) from error
            with suppress(OSError):
                self._scrub_mark.unlink(missing_ok=True)

    def set_aside_files(self) -> list[Path]:
        """See `recovery.set_aside_files`."""
        return recovery.set_aside_files(self.path)

    def forget_set_aside(self) -> None:
        """Delete them. Raises StorageTrouble."""
        for part in self.set_aside_files():
            try:
                part.unlink(missing_ok=True)
            except OSError as error:
                raise named(error, part) from error

    # Damage

    def damage(self) -> StorageTrouble:
        """The error for rows that cannot be: SQLite reads a lost part of a page as zeros."""
        return self._met(with_code(sqlite3.SQLITE_CORRUPT, "rows that cannot be"))

    def _met(self, error: sqlite3.Error) -> StorageTrouble:
        if is_corrupt(error):
            with suppress(OSError):
                recovery.mark_of(self.path).touch(mode=0o600)
        return named(error, self.path)


def _place_of(path: Path) -> tuple[int, int]:
    """What stays the same while a file is open, whatever it is called."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _scrub(connection: sqlite3.Connection) -> None:
    # An index entry that was deleted is only marked until its segment is merged; the option that
    # changes this came with SQLite 3.42.
    connection.execute("INSERT INTO found_in(found_in) VALUES ('rebuild')")
    # Pages that were split keep copies of rows: without this 4 of 40 databases still had words.
    connection.execute("VACUUM")
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise with_code(sqlite3.SQLITE_BUSY, "the log is in use")
