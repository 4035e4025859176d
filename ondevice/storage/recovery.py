"""Take from a damaged database what can still be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from ondevice.storage.schema import MIGRATIONS

MOST_MISSES = 20_000
"""Ids tried in a row behind the last one that read: one lost page can hold hundreds of rows."""


def version_of(damaged: Path) -> int:
    """The version of its tables; the newest where that does not read or cannot be."""
    with suppress(sqlite3.Error), closing(_open(damaged)) as old:
        (version,) = old.execute("PRAGMA user_version").fetchone()
        if 0 < version <= len(MIGRATIONS):
            return int(version)
    return len(MIGRATIONS)


def copy_readable(damaged: Path, into: sqlite3.Connection) -> int:
    """Copy what reads into an empty database of the same version; returns how many messages.

    What does not read is left where it is: `damaged` is only read.
    """
    try:
        with closing(_open(damaged)) as old:
            into.execute("BEGIN IMMEDIATE")
            into.execute("PRAGMA defer_foreign_keys=ON")  # until `_mend` has been
            _copy(old, into, "session")
            messages = _copy(old, into, "message")
            if "parent_id" in _columns(into, "message"):
                _copy(old, into, "answer")
                _mend(into, "parent_id" in _columns(old, "message"))
            into.execute("COMMIT")
            return messages
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            if into.in_transaction:
                into.execute("ROLLBACK")
        return 0


def _open(damaged: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{damaged.as_uri()}?mode=ro", uri=True)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _copy(old: sqlite3.Connection, into: sqlite3.Connection, table: str) -> int:
    there = _columns(old, table)
    columns = [name for name in _columns(into, table) if name in there]
    if not columns:
        return 0
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


def _mend(into: sqlite3.Connection, was_tree: bool) -> None:
    """Close the gaps that lost messages left in the tree, and keep lost ids from being used again.

    A message without its parent follows the one before it in its session, and a session without
    its head shows the path to its last message: so every message can be reached.
    """
    into.execute(
        """UPDATE message SET parent_id = (
            SELECT max(earlier.id) FROM message AS earlier
            WHERE earlier.session_id = message.session_id AND earlier.id < message.id)
        WHERE NOT ? OR parent_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM message AS parent WHERE parent.id = message.parent_id
            AND parent.session_id = message.session_id AND parent.id < message.id)""",
        (was_tree,),
    )
    into.execute(
        """UPDATE session SET head_id = (SELECT max(id) FROM message WHERE session_id = session.id)
        WHERE coalesce(head_id, 0) NOT IN (SELECT id FROM message WHERE session_id = session.id)"""
    )
    # a new row with the id of a lost one would be taken for it by the ledger
    for table, column in (("message", "id"), ("session", "session_id")):
        (used,) = into.execute(f"SELECT coalesce(max({column}), 0) FROM answer").fetchone()
        into.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (used, table))
        into.execute(
            """INSERT INTO sqlite_sequence (name, seq) SELECT ?, ?
            WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)""",
            (table, used, table),
        )
