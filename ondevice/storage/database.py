"""The one owner of the connection: opening, migrations, and errors with names.

WAL with synchronous=FULL: a committed row survives a kill and a power cut; a commit takes 4 ms.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ondevice.errors import DatabaseBusy, DatabaseTooNew, DatabaseUnusable, StorageTrouble
from ondevice.hardware.system import make_private_folder

BUSY_S = 5.0

MIGRATIONS = (
    """
    CREATE TABLE session (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        created_at TEXT NOT NULL,
        system_prompt TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('complete', 'streaming', 'interrupted')),
        writer_pid INTEGER,
        model TEXT NOT NULL DEFAULT '',
        finish_reason TEXT NOT NULL DEFAULT '',
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        cached_tokens INTEGER NOT NULL DEFAULT 0,
        completion_tokens INTEGER NOT NULL DEFAULT 0,
        ttft_s REAL,
        decode_tok_per_s REAL,
        baseline TEXT NOT NULL DEFAULT '',
        avoided_usd TEXT,
        price_date TEXT
    ) STRICT;
    CREATE INDEX message_by_session ON message(session_id, id);
    """,
)


class Database:
    """An open database. Safe from any thread; transactions are one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`. Raises StorageTrouble."""
        self.path = path
        self.set_aside: Path | None = None
        """Where an unreadable database was moved, if that had to be done."""
        self._lock = threading.RLock()
        try:
            make_private_folder(path.parent)
            self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            raise named(error, path) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            self.set_aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
            self.path.rename(self.set_aside)
            for suffix in ("-wal", "-shm"):  # they belong to the file that was moved
                extra = self.path.with_name(self.path.name + suffix)
                if extra.exists():
                    extra.rename(self.set_aside.with_name(self.set_aside.name + suffix))
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA secure_delete=ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise DatabaseTooNew(
                f"{self.path} was written by a later version of ondevice",
                hint="Update ondevice, or set ONDEVICE_HOME to another folder.",
            )
        if version == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may be migrating too
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for step in MIGRATIONS[version:]:
            for statement in step.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it durable at the end, or none. Raises StorageTrouble."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise named(error, self.path) from error

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query. Raises StorageTrouble."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise named(error, self.path) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def named(error: Exception, path: Path) -> StorageTrouble:
    """The error of our tree for one of SQLite's or the system's."""
    if isinstance(error, StorageTrouble):
        return error
    text = str(error)
    if "locked" in text or "busy" in text:
        return DatabaseBusy(f"{path} is in use by another process", hint="Close it and try again.")
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return DatabaseUnusable(
            f"{path} cannot be written", hint="Check its permissions, or set ONDEVICE_HOME."
        )
    if "full" in text:
        return DatabaseUnusable(f"no space is left for {path}", hint="Free some disk space.")
    return DatabaseUnusable(f"{path}: {text}", hint="Check the disk, or set ONDEVICE_HOME.")


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return "not a database" in str(error) or "malformed" in str(error)
