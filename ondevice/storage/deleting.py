"""Deleting sessions for good, which takes a while: from its beginning they take nothing more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ondevice.errors import StorageTrouble, UnknownSession
from ondevice.storage.copied import Copied
from ondevice.storage.database import Database
from ondevice.storage.states import States


@dataclass(eq=False, slots=True)
class _Going:
    """What one delete was asked for."""

    ids: Collection[int] | None
    """None for every session that was there."""
    begun_since: set[int] = field(default_factory=set)

    def has(self, session_id: int) -> bool:
        if self.ids is None:
            return session_id not in self.begun_since
        return session_id in self.ids


class Deleting:
    """Safe from any thread. What a method has returned from is overwritten."""

    def __init__(self, database: Database, states: States, copied: Copied) -> None:
        self._database, self._states, self._copied = database, states, copied
        self._going: list[_Going] = []

    def refuse(self, session_id: int) -> None:
        """Raises UnknownSession for one that is being deleted by this process."""
        if any(each.has(session_id) for each in list(self._going)):
            raise UnknownSession(
                f"session {session_id} is being deleted", hint="Open another one, or begin one."
            )

    def note_begun(self, session_id: int) -> None:
        """This session is new; called in the transaction that makes it."""
        for each in list(self._going):
            each.begun_since.add(session_id)

    def delete(self, session_ids: Collection[int] | None) -> None:
        """See `Sessions.delete`; None is all that are there, with databases that were set aside."""
        with self._kept_away(session_ids) as going:
            gone = self._existing(session_ids)
            self._delete_beside(session_ids)  # first: a kill in between leaves sessions without it
            self._database.scrub_is_due()
            with self._database.transaction() as connection:
                if session_ids is None:
                    every = connection.execute("SELECT id FROM session")
                    gone = [row["id"] for row in every if going.has(row["id"])]
                due = [(session_id,) for session_id in gone]
                query = "DELETE FROM answer WHERE session_id = ? AND NOT counted"
                connection.executemany(query, due)
                connection.executemany("DELETE FROM session WHERE id = ?", due)
            self._delete_beside(gone)  # again: something may have been written meanwhile
            if session_ids is None:
                self._database.forget_set_aside()
            self._overwrite()

    @contextmanager
    def _kept_away(self, session_ids: Collection[int] | None) -> Iterator[_Going]:
        going = _Going(session_ids)
        self._going.append(going)
        try:
            yield going
        finally:
            self._going.remove(going)

    def _existing(self, session_ids: Collection[int] | None) -> list[int]:
        """Raises UnknownSession for the first that is not there."""
        asked = [] if session_ids is None else list(session_ids)
        for session_id in asked:
            if not self._database.rows("SELECT 1 FROM session WHERE id = ?", session_id):
                raise unknown(session_id)
        return asked

    def _delete_beside(self, session_ids: Collection[int] | None) -> None:
        """What other files have of these sessions, or of all."""
        self._copied.forget()
        if session_ids is None:
            self._states.delete_all()
        else:
            self._states.delete(*session_ids)

    def _overwrite(self) -> None:
        try:
            self._database.scrub()
        except StorageTrouble as error:
            raise type(error)(
                f"deleted, but the old bytes are not overwritten yet: {error.message}",
                hint="That is tried again whenever ondevice starts.",
            ) from error


def unknown(session_id: int, message_id: int | None = None) -> UnknownSession:
    """The error for what is not there."""
    if message_id is not None:
        return UnknownSession(f"session {session_id} has no message {message_id}")
    return UnknownSession(f"there is no session {session_id}", hint="See: ondevice sessions")
