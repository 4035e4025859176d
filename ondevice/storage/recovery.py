"""Set a damaged database aside, and put a new one with what of it reads in its place.

The new one gets that place when it is whole. Until then there is none, and a mark beside it names
the damaged file: whatever ends a recovery, a full disk or a kill, the next opening makes it anew.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ondevice.storage.schema import MIGRATIONS, migrate
from ondevice.storage.troubles import is_about_a_place

MOST_MISSES = 20_000
"""Ids tried in a row behind the last one that read: one lost page can hold hundreds of rows."""
_LOGS = ("-wal", "-shm")


def mark_of(path: Path) -> Path:
    """There where damage was met; it names the file that is to be recovered."""
    return path.with_name(f"{path.name}.damaged")


def begun(path: Path) -> Path | None:
    """The damaged file that is still to be recovered, if one is."""
    if path.exists() or not mark_of(path).exists():
        return None
    name = mark_of(path).read_text(encoding="utf-8", errors="replace")
    return next((file for file in set_aside_files(path) if file.name == name), None)


def set_aside_files(path: Path) -> list[Path]:
    """Damaged databases and their logs, which may still hold what was deleted later."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.corrupt-*"))


def set_aside(path: Path) -> Path:
    """Name the file in the mark and move it there; its log goes with it in `recover`."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    mark_of(path).touch(mode=0o600)
    mark_of(path).write_text(aside.name, encoding="utf-8")
    path.rename(aside)
    return aside


def recover(aside: Path, path: Path) -> int:
    """Make `path` of what reads in `aside`; returns how many messages.

    What does not read is left where it is: `aside` is only read. Raises sqlite3.Error and OSError
    for what is no damage, and then there is no `path` yet.
    """
    for suffix in _LOGS:  # beside a new database a log would be replayed into it
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as into:
            into.execute("PRAGMA journal_mode=MEMORY")  # a half is thrown away
            into.execute("PRAGMA temp_store=MEMORY")
            messages = _copy_all(aside, into)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    mark_of(path).unlink(missing_ok=True)
    return messages


def _copy_all(damaged: Path, into: sqlite3.Connection) -> int:
    """Tables of the old version first, so that what reads goes through the same steps."""
    with closing(sqlite3.connect(f"{damaged.as_uri()}?mode=ro", uri=True)) as old:
        migrate(into, _version_of(old))
        into.execute("BEGIN IMMEDIATE")
        _copy(old, into, "session")
        messages = _copy(old, into, "message")
        if "parent_id" in _columns(into, "message"):
            _copy(old, into, "answer")
            _mend(into, "parent_id" in _readable_columns(old, "message"))
        into.execute("COMMIT")
    migrate(into)
    return messages


@contextmanager
def _passing_over_damage() -> Iterator[None]:
    """What cannot be read of the old file is left out; a disk that fails is no damage."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if is_about_a_place(error):
            raise


def _version_of(old: sqlite3.Connection) -> int:
    """The version of its tables; the newest where that does not read or cannot be."""
    with _passing_over_damage():
        (version,) = old.execute("PRAGMA user_version").fetchone()
        if 0 < version <= len(MIGRATIONS):
            return int(version)
    return len(MIGRATIONS)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _readable_columns(old: sqlite3.Connection, table: str) -> list[str]:
    """Empty where the list of tables is damaged, or has no such table."""
    with _passing_over_damage():
        return _columns(old, table)
    return []


def _copy(old: sqlite3.Connection, into: sqlite3.Connection, table: str) -> int:
    there = _readable_columns(old, table)
    columns = [name for name in _columns(into, table) if name in there]
    if not columns:
        return 0
    names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
    copied = 0
    for row in _readable(old, f"SELECT {names} FROM {table}"):
        with suppress(sqlite3.IntegrityError):  # what the tables' own rules refuse is damaged, too
            if table == "message":
                _give_session(into, row[columns.index("session_id")])
            into.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
            copied += 1
    return copied


def _readable(old: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Rows of a query whose first column is the id; damaged ones are stepped over, few come twice.

    After damage it goes on behind the second highest id so far, as a damaged id can be far above
    all others. The next id is first asked for alone: a scan loses the row before the damage, too.
    """
    after, second, highest, misses = 0, -1, 0, 0
    while misses < MOST_MISSES:
        with _passing_over_damage():
            for row in old.execute(f"{query} WHERE id > ? ORDER BY id", (after,)):
                second, highest = sorted({second, highest, row[0]})[-2:]
                yield row
            return
        misses = 0 if second > after else misses + 1
        after = max(after, second) + 1
        with _passing_over_damage():
            for row in old.execute(f"{query} WHERE id = ?", (after,)):
                misses = 0
                yield row


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
