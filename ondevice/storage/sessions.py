"""Sessions and the trees of their messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ondevice.domain.generation import FinishReason, Role
from ondevice.domain.measured import Measured
from ondevice.domain.prompt import Attachment
from ondevice.domain.session import (
    Found,
    Listed,
    MessageState,
    Session,
    SessionTree,
    StoredMessage,
)
from ondevice.domain.text import clean_line, storable
from ondevice.errors import UnknownSession
from ondevice.storage import listing, rows, search
from ondevice.storage.copied import Copied
from ondevice.storage.database import Database
from ondevice.storage.deleting import Deleting, unknown
from ondevice.storage.rows import MESSAGES, message_of, session_of
from ondevice.storage.states import FOLDER, States

EVERY = 1_000_000_000
"""As a limit."""
TITLE_CHARACTERS = 60
UNTITLED = "New conversation"


class Sessions:
    """Reads and writes conversations. What a method has returned from is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.states = States(database.path.parent / FOLDER)
        """What models have read of them; goes with its session."""
        self.copied = Copied(database.path.parent)
        self._deleting = Deleting(database, self.states, self.copied)
        self._mark_abandoned()

    # Sessions

    def create(self, title: str, system_prompt: str = "") -> Session:
        """A new, empty session."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        title, system_prompt = title_of(title), storable(system_prompt)
        with self._database.transaction() as connection:
            session = rows.insert_session(connection, title, now, system_prompt)
            self._deleting.note_begun(session.id)
        return session

    def get(self, session_id: int) -> Session:
        """Raises UnknownSession."""
        for row in self._database.rows("SELECT * FROM session WHERE id = ?", session_id):
            return session_of(row)
        raise unknown(session_id)

    def recent(self, limit: int = 200) -> list[Session]:
        """The sessions used last, newest first."""
        found = self._database.rows(
            """SELECT session.* FROM session
               LEFT JOIN (SELECT session_id, max(id) AS latest FROM message GROUP BY session_id)
               ON session_id = session.id
               ORDER BY coalesce(latest, 0) DESC, session.id DESC LIMIT ?""",
            limit,
        )
        return [session_of(row) for row in found]

    def listed(self, limit: int = EVERY) -> list[Listed]:
        """The sessions used last with what there is of each, newest first."""
        return listing.read(self._database, limit)

    def search(self, text: str, limit: int = 50) -> list[Found]:
        """Where all words of `text` are, the last one perhaps unfinished: titles, then messages.

        Messages of every path are looked through, the best match first; an answer that is being
        made is among them as far as it was saved. Words are those of Unicode, without accents, so
        a text without spaces is found by its beginning only.
        """
        return search.find(self._database, text, limit)

    def rename(self, session_id: int, title: str) -> Session:
        """Raises UnknownSession."""
        return self._set(session_id, "title", title_of(title))

    def set_system_prompt(self, session_id: int, system_prompt: str) -> Session:
        """What the model is told from the next turn on. Raises UnknownSession."""
        return self._set(session_id, "system_prompt", storable(system_prompt))

    def delete(self, session_ids: Iterable[int]) -> None:
        """Delete sessions with all their paths, from every byte of the database's files, with
        their saved states and the text that was copied last. From now on this process opens none
        of them and adds nothing to it.

        Their rows of the ledger stay: numbers and names of models. Raises UnknownSession, and
        then nothing was deleted; other StorageTrouble may come from overwriting, which is tried
        again at the next opening.
        """
        self._deleting.delete(list(session_ids))

    def delete_all(self) -> None:
        """Delete every session that is there now, see `delete`, and databases that were set aside
        as damaged."""
        self._deleting.delete(None)

    def set_aside(self) -> list[Path]:
        """Damaged databases, which may hold parts of sessions; only `delete_all` deletes them."""
        return self._database.set_aside_files()

    def _set(self, session_id: int, column: str, value: str) -> Session:
        self._deleting.refuse(session_id)
        self.get(session_id)  # first: a number beyond 64 bits is unknown, not an error of SQLite's
        with self._database.transaction() as connection:
            connection.execute(f"UPDATE session SET {column} = ? WHERE id = ?", (value, session_id))
        return self.get(session_id)

    # Their trees

    def messages(self, session_id: int) -> list[StoredMessage]:
        """The path that is shown, in order."""
        return self._read(
            f"""WITH RECURSIVE path(id, parent_id) AS (
                    SELECT id, parent_id FROM message
                    WHERE id = (SELECT head_id FROM session WHERE id = ?)
                    UNION
                    SELECT message.id, message.parent_id FROM message, path
                    WHERE message.id = path.parent_id)
                {MESSAGES} WHERE message.id IN (SELECT id FROM path) ORDER BY message.id""",
            session_id,
        )

    def tree(self, session_id: int) -> SessionTree:
        """All paths. Raises UnknownSession."""
        self._deleting.refuse(session_id)
        found = self._database.rows("SELECT * FROM session WHERE id = ?", session_id)
        if not found:
            raise unknown(session_id)
        # the head was read first, so it is among the messages whatever others add meanwhile
        every = self._read(
            f"{MESSAGES} WHERE message.session_id = ? ORDER BY message.id", session_id
        )
        return SessionTree(session_of(found[0]), tuple(every), found[0]["head_id"])

    def _read(self, query: str, session_id: int) -> list[StoredMessage]:
        """Messages that begin with a first one."""
        found = self._database.rows(query, session_id)
        whole = all(row["session_id"] == session_id and row["content"] is not None for row in found)
        if not whole or (found and found[0]["parent_id"] is not None):
            raise self._database.damage()
        return [message_of(row) for row in found]

    def move_head(self, session_id: int, message_id: int | None) -> None:
        """Show the path that ends with this message, or an empty one; the others stay.

        Raises UnknownSession, also where the session has no such message.
        """
        with self._database.transaction() as connection:
            self._deleting.refuse(session_id)
            moved = connection.execute(
                """UPDATE session SET head_id = :head WHERE id = :session AND (:head IS NULL OR
                EXISTS (SELECT 1 FROM message WHERE id = :head AND session_id = :session))""",
                {"head": message_id, "session": session_id},
            )
            if not moved.rowcount:
                raise unknown(session_id, message_id)

    def restore(self, tree: SessionTree) -> Session:
        """A new session with what `tree` holds: all of it, or nothing.

        Numbers in `tree` are its own: a parent stands before its children. Its answers are not
        counted in the ledger, as they were made elsewhere, or before.
        """
        given = tree.session
        with self._database.transaction() as connection:
            title, prompt = title_of(given.title), storable(given.system_prompt)
            session = rows.insert_session(connection, title, given.created_at, prompt)
            self._deleting.note_begun(session.id)
            _set_head(connection, session.id, rows.insert_tree(connection, session, tree))
        return session

    # Their messages

    def add(
        self,
        session_id: int,
        role: Role,
        content: str,
        state: MessageState = "complete",
        model: str = "",
        after: int | None = None,
        attached: tuple[Attachment, ...] = (),
        kept_from: int | None = None,
    ) -> StoredMessage:
        """Put a message after message `after`, and show the path to it.

        0 is after nothing: another first message. None is after the last one shown. A `streaming`
        one belongs to this process until it is finished. One with `kept_from` is a cut. Raises
        UnknownSession.
        """
        given = StoredMessage(0, session_id, role, storable(content), state, model)
        message = replace(given, attached=attached, kept_from=kept_from)
        with self._database.transaction() as connection:
            self._deleting.refuse(session_id)
            found = connection.execute("SELECT head_id FROM session WHERE id = ?", (session_id,))
            row = found.fetchone()
            if row is None:
                raise unknown(session_id)
            parent_id = row["head_id"] if after is None else after or None
            new_id = rows.insert_message(connection, session_id, parent_id, message)
            _set_head(connection, session_id, new_id)
        return replace(message, id=new_id, parent_id=parent_id)

    def save_part(self, message_id: int, content: str) -> None:
        """What there is of an answer so far."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE message SET content = ? WHERE id = ?", (storable(content), message_id)
            )

    def finish(
        self,
        message: StoredMessage,
        content: str,
        state: MessageState,
        ending: FinishReason,
        measured: Measured | None,
        counted: bool = True,
    ) -> StoredMessage:
        """The answer as it ended, with its numbers where there are any.

        They are `counted` in the ledger, or kept beside the answer only. Raises UnknownSession
        where it was deleted meanwhile; what it used is counted all the same.
        """
        with self._database.transaction() as connection:
            if measured is not None:
                rows.insert_answer(connection, message, measured, counted)
            connection.execute(
                """UPDATE message SET content = ?, state = ?, writer = NULL, finish_reason = ?
                WHERE id = ?""",
                (storable(content), state, ending, message.id),
            )
            found = connection.execute(f"{MESSAGES} WHERE message.id = ?", (message.id,))
            row = found.fetchone()
        if row is None:
            raise unknown(message.session_id)
        return message_of(row)

    def mark_useful(self, message_id: int, useful: bool = True) -> None:
        """Note what the person thinks of an answer. Raises UnknownSession if it has no numbers."""
        with self._database.transaction() as connection:
            marked = connection.execute(
                "UPDATE answer SET useful = ? WHERE id = ?", (useful, message_id)
            )
            if not marked.rowcount:
                raise UnknownSession(
                    f"message {message_id} is no answer with numbers",
                    hint="Only a stored answer can be marked.",
                )

    def _mark_abandoned(self) -> None:
        """Half answers whose process is gone are interrupted ones."""
        found = self._database.rows("SELECT id, writer FROM message WHERE state = 'streaming'")
        gone = [(row["id"],) for row in found if not rows.still_runs(row["writer"])]
        if gone:
            query = "UPDATE message SET state = 'interrupted', writer = NULL WHERE id = ?"
            with self._database.transaction() as connection:
                connection.executemany(query, gone)


def _set_head(connection: sqlite3.Connection, session_id: int, message_id: int | None) -> None:
    connection.execute("UPDATE session SET head_id = ? WHERE id = ?", (message_id, session_id))


def title_of(text: str) -> str:
    """`text` as a title: one clean, short line."""
    return clean_line(text, TITLE_CHARACTERS) or UNTITLED
