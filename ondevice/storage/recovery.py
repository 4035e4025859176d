"""Take from a damaged database what can still be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

MOST_MISSES = 20_000
"""Ids tried in a row behind the last one that read: one lost page can hold hundreds of rows."""


def copy_readable(damaged: Path, into: sqlite3.Connection) -> int:
    """Copy sessions and messages into an empty database; returns how many messages.

    What does not read is left where it is: `damaged` is only read.
    """
    try:
        with closing(sqlite3.connect(f"{damaged.as_uri()}?mode=ro", uri=True)) as old:
            into.execute("BEGIN IMMEDIATE")
            _copy(old, into, "session")
            messages = _copy(old, into, "message")
            into.execute("COMMIT")
            return messages
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            if into.in_transaction:
                into.execute("ROLLBACK")
        return 0


def _copy(old: sqlite3.Connection, into: sqlite3.Connection, table: str) -> int:
    columns = [row[1] for row in into.execute(f"PRAGMA table_info({table})")]
    there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in columns if name in there]
    names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
    copied = 0
    for row in _readable(old, f"SELECT {names} FROM {table} WHERE id > ? ORDER BY id"):
        with suppress(sqlite3.Error):  # a row that the tables' own rules refuse is damaged, too
            if table == "message":
                _give_session(into, row[columns.index("session_id")])
            into.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
            copied += 1
    return copied


def _readable(old: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Rows in the order of their ids, which come first in each; damaged ones are stepped over."""
    after, misses = 0, 0
    while misses < MOST_MISSES:
        try:
            for row in old.execute(query, (after,)):
                after, misses = row[0], 0
                yield row
            return
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            after, misses = after + 1, misses + 1


def _give_session(into: sqlite3.Connection, session_id: object) -> None:
    """A message whose session was lost gets one, so that it can be found."""
    into.execute(
        "INSERT OR IGNORE INTO session (id, title, created_at) VALUES (?, ?, ?)",
        (session_id, "Recovered conversation", datetime.now(UTC).isoformat(timespec="seconds")),
    )
