"""All sessions at a glance: what a list of them says of each."""

from __future__ import annotations

from ondevice.domain.session import Listed
from ondevice.storage.database import Database
from ondevice.storage.rows import session_of

_LISTED = """SELECT session.*,
    (SELECT count(*) FROM message WHERE session_id = session.id) AS messages,
    (SELECT max(id) FROM message WHERE session_id = session.id) AS latest,
    (SELECT model FROM message WHERE session_id = session.id AND role = 'assistant'
        ORDER BY id DESC LIMIT 1) AS model,
    (SELECT at FROM answer WHERE session_id = session.id ORDER BY id DESC LIMIT 1) AS used_at,
    (SELECT total(completion_tokens) FROM answer WHERE session_id = session.id) AS tokens
    FROM session ORDER BY coalesce(latest, 0) DESC, session.id DESC LIMIT ?"""
"""`total`, as `sum` fails beyond 64 bits, which imports of earlier versions could reach."""


def read(database: Database, limit: int) -> list[Listed]:
    """The sessions used last, newest first."""
    return [
        Listed(
            session=session_of(row),
            used_at=row["used_at"] or row["created_at"],
            messages=row["messages"],
            model=row["model"] or "",
            tokens=int(row["tokens"]),
        )
        for row in database.rows(_LISTED, limit)
    ]
