"""Sessions and their messages."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime

from ondevice.domain.generation import FinishReason, Role
from ondevice.domain.measured import Measured
from ondevice.domain.session import MessageState, Session, StoredMessage
from ondevice.domain.text import clean_line, storable
from ondevice.hardware.probe import process_mark
from ondevice.storage.database import Database

TITLE_CHARACTERS = 60


class Sessions:
    """Reads and writes conversations. What a method has returned from is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark_abandoned()

    def create(self, title: str, system_prompt: str = "") -> Session:
        """A new, empty session."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        title = clean_line(title, TITLE_CHARACTERS) or "New conversation"
        system_prompt = storable(system_prompt)
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO session (title, created_at, system_prompt) VALUES (?, ?, ?)",
                (title, now, system_prompt),
            )
        return Session(_id_of(cursor), title, now, system_prompt)

    def recent(self, limit: int = 200) -> list[Session]:
        """The sessions used last, newest first."""
        rows = self._database.rows(
            """SELECT session.* FROM session
               LEFT JOIN (SELECT session_id, max(id) AS latest FROM message GROUP BY session_id)
               ON session_id = session.id
               ORDER BY coalesce(latest, 0) DESC, session.id DESC LIMIT ?""",
            limit,
        )
        return [Session(r["id"], r["title"], r["created_at"], r["system_prompt"]) for r in rows]

    def messages(self, session_id: int) -> list[StoredMessage]:
        """All messages of a session in order."""
        rows = self._database.rows(
            "SELECT * FROM message WHERE session_id = ? ORDER BY id", session_id
        )
        return [_message(row) for row in rows]

    def add(
        self,
        session_id: int,
        role: Role,
        content: str,
        state: MessageState = "complete",
        model: str = "",
    ) -> StoredMessage:
        """Append a message. A `streaming` one belongs to this process until it is finished."""
        content = storable(content)
        writer = _writer(os.getpid()) if state == "streaming" else None
        with self._database.transaction() as connection:
            cursor = connection.execute(
                """INSERT INTO message (session_id, role, content, state, writer, model)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                (session_id, role, content, state, writer, model),
            )
        return StoredMessage(_id_of(cursor), session_id, role, content, state, model)

    def save_part(self, message_id: int, content: str) -> None:
        """What there is of an answer so far."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE message SET content = ? WHERE id = ?", (storable(content), message_id)
            )

    def finish(
        self,
        message_id: int,
        content: str,
        state: MessageState,
        ending: FinishReason,
        measured: Measured | None,
    ) -> StoredMessage:
        """The answer as it ended, with its numbers where there are any."""
        values = {"finish_reason": ending} | _numbers(measured)
        names = ", ".join(f"{name} = ?" for name in values)
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE message SET content = ?, state = ?, writer = NULL, {names} WHERE id = ?",
                (storable(content), state, *values.values(), message_id),
            )
        (row,) = self._database.rows("SELECT * FROM message WHERE id = ?", message_id)
        return _message(row)

    def _mark_abandoned(self) -> None:
        """Half answers whose process is gone are interrupted ones."""
        rows = self._database.rows("SELECT id, writer FROM message WHERE state = 'streaming'")
        gone = [row["id"] for row in rows if not _still_runs(row["writer"])]
        if not gone:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE message SET state = 'interrupted', writer = NULL WHERE id = ?",
                [(message_id,) for message_id in gone],
            )


def _writer(pid: int) -> str:
    """A process in a way that outlives it: numbers of processes are used again."""
    return f"{pid} {process_mark(pid)}"


def _still_runs(writer: str | None) -> bool:
    pid, _, mark = (writer or "").partition(" ")
    return pid.isdecimal() and process_mark(int(pid)) == mark


def _id_of(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _numbers(measured: Measured | None) -> dict[str, object]:
    if measured is None:
        return {}
    done, cost = measured.done, measured.cost
    return {
        "prompt_tokens": done.usage.prompt_tokens,
        "cached_tokens": done.usage.cached_tokens,
        "completion_tokens": done.usage.completion_tokens,
        "ttft_s": done.timings.ttft_s,
        "decode_tok_per_s": done.decode_tok_per_s,
        "baseline": cost.price.baseline if cost else "",
        "avoided_usd": str(cost.usd) if cost else None,
        "price_date": cost.price.price_date.isoformat() if cost else None,
    }


def _message(row: sqlite3.Row) -> StoredMessage:
    return StoredMessage(
        id=row["id"],
        session_id=row["session_id"],
        role=row["role"],
        content=row["content"],
        state=row["state"],
        model=row["model"],
        completion_tokens=row["completion_tokens"],
        decode_tok_per_s=row["decode_tok_per_s"],
        finish_reason=row["finish_reason"],
    )
