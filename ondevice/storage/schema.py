"""The tables, as steps from one version to the next. A step that was released never changes.

session   one conversation; `head_id` ends the path that is shown
message   the tree of its messages, with the texts attached to them
answer    the numbers of an answer, by the id of its message. Those that are `counted` are the
          ledger, and outlive their message; the others (echoes, noise, imports) go with it
found_in  the full-text index over messages; it keeps no copy of their text
"""

from __future__ import annotations

import sqlite3

SESSIONS = (
    """CREATE TABLE session (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        created_at TEXT NOT NULL,
        system_prompt TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('complete', 'streaming', 'interrupted')),
        writer TEXT,
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
    ) STRICT""",
    "CREATE INDEX message_by_session ON message(session_id, id)",
    "CREATE INDEX message_streaming ON message(id) WHERE state = 'streaming'",
)

NUMBERS = ("prompt_tokens", "cached_tokens", "completion_tokens", "ttft_s", "decode_tok_per_s")
MOVED = (*NUMBERS, "baseline", "avoided_usd", "price_date")

TREE_AND_LEDGER = (
    # A session becomes one path.
    "ALTER TABLE session ADD COLUMN head_id INTEGER REFERENCES message(id)",
    "ALTER TABLE message ADD COLUMN parent_id INTEGER REFERENCES message(id)",
    """UPDATE message SET parent_id = (
        SELECT max(earlier.id) FROM message AS earlier
        WHERE earlier.session_id = message.session_id AND earlier.id < message.id)""",
    """UPDATE session SET head_id = (
        SELECT max(id) FROM message WHERE session_id = session.id)""",
    "CREATE INDEX message_by_parent ON message(parent_id)",
    "CREATE INDEX session_by_head ON session(head_id)",
    # No reference to the message or the session: a counted row outlives both, and their numbers
    # are not used again. The model's name stands here too, for the same reason.
    """CREATE TABLE answer (
        id INTEGER PRIMARY KEY,
        session_id INTEGER NOT NULL,
        counted INTEGER NOT NULL CHECK (counted IN (0, 1)),
        billable INTEGER NOT NULL CHECK (billable IN (0, 1)),
        useful INTEGER NOT NULL DEFAULT 0 CHECK (useful IN (0, 1)),
        at TEXT NOT NULL,
        day TEXT NOT NULL,
        model TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        ttft_s REAL,
        decode_tok_per_s REAL,
        seconds REAL,
        baseline TEXT NOT NULL DEFAULT '',
        price_date TEXT,
        input_usd_per_mtok TEXT,
        output_usd_per_mtok TEXT,
        cached_usd_per_mtok TEXT,
        batch_share TEXT,
        cached_tokens_priced INTEGER NOT NULL DEFAULT 0,
        usd TEXT,
        energy_tier TEXT NOT NULL DEFAULT 'unknown'
            CHECK (energy_tier IN ('measured', 'estimated', 'unknown')),
        joules REAL,
        electricity_usd TEXT
    ) STRICT""",
    "CREATE INDEX answer_by_session ON answer(session_id)",
    # Version 1 kept no time of an answer, so it has that of its session, and no rates. Whether a
    # row without a price was noise cannot be told any more, so only priced ones are counted.
    f"""INSERT INTO answer (id, session_id, counted, billable, at, day, model,
            {", ".join(NUMBERS)}, baseline, usd, price_date)
        SELECT message.id, session_id, avoided_usd IS NOT NULL,
            finish_reason <> 'failed' AND trim(content, ' ' || char(9, 10, 13)) <> '',
            created_at, coalesce(date(created_at, 'localtime'), substr(created_at, 1, 10)), model,
            {", ".join(NUMBERS)}, baseline, avoided_usd, price_date
        FROM message JOIN session ON session.id = session_id
        WHERE prompt_tokens > 0 OR completion_tokens > 0""",
    *(f"ALTER TABLE message DROP COLUMN {name}" for name in MOVED),
    """CREATE VIRTUAL TABLE found_in USING fts5(
        content, content='message', content_rowid='id',
        tokenize='unicode61 remove_diacritics 2')""",
    "INSERT INTO found_in(found_in) VALUES ('rebuild')",
    """CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
        INSERT INTO found_in(rowid, content) VALUES (new.id, new.content);
    END""",
    """CREATE TRIGGER message_changed AFTER UPDATE OF content ON message BEGIN
        INSERT INTO found_in(found_in, rowid, content) VALUES ('delete', old.id, old.content);
        INSERT INTO found_in(rowid, content) VALUES (new.id, new.content);
    END""",
    """CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
        INSERT INTO found_in(found_in, rowid, content) VALUES ('delete', old.id, old.content);
    END""",
)

ATTACHMENTS_AND_CUTS = (
    # A list of names and texts as JSON, and not a table: it is read, deleted and recovered with its
    # message, and all of the schema stays on one page, so that fewer damages lose everything.
    "ALTER TABLE message ADD COLUMN attached TEXT",
    # No reference: a cut whose message is not on the path cuts nothing.
    "ALTER TABLE message ADD COLUMN kept_from INTEGER",
)

MIGRATIONS = (SESSIONS, TREE_AND_LEDGER, ATTACHMENTS_AND_CUTS)


def migrate(connection: sqlite3.Connection, to: int = len(MIGRATIONS)) -> None:
    """Bring the tables up to version `to`, all steps or none; nothing where they are there."""
    if _version(connection) >= to:
        return
    connection.execute("BEGIN IMMEDIATE")  # another process may be migrating too
    version = _version(connection)
    for step in MIGRATIONS[version:to]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {max(version, to)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
