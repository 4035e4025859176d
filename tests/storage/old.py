"""A database as version 1 made it, from the very statements of that version."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ondevice.storage.schema import MIGRATIONS

ADD_SESSION = "INSERT INTO session (title, created_at) VALUES ('old', '2026-11-20T10:00:00+00:00')"
ADD_QUESTION = "INSERT INTO message (session_id, role, content, state) VALUES (?, 'user', ?, ?)"
ADD_ANSWER = """INSERT INTO message (session_id, role, content, state, model, finish_reason,
    prompt_tokens, cached_tokens, completion_tokens, ttft_s, decode_tok_per_s,
    baseline, avoided_usd, price_date)
    VALUES (?, 'assistant', ?, ?, 'small', ?, 30, 10, 7, 0.5, 9.5, ?, ?, ?)"""
PRICED = ("ministral-3b", "0.0000350", "2026-11-24")


def make_version_1(path: Path, messages: int = 4, sessions: int = 1) -> None:
    """`sessions` conversations of `messages` turns, one after the other's message."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        for _ in range(sessions):
            connection.execute(ADD_SESSION)
        for number in range(messages):
            for session in range(1, sessions + 1):
                text = f"{number} " + "words " * 20
                if number % 2 == 0:
                    connection.execute(ADD_QUESTION, (session, text, "complete"))
                else:
                    connection.execute(ADD_ANSWER, (session, text, "complete", "stop", *PRICED))
