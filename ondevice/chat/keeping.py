"""What is done with the sessions that are kept; the open one stays in step.

Where a session's number is asked for, None is the open conversation, also one that is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ondevice.chat import transfer
from ondevice.chat.chat import Chat
from ondevice.domain.session import Found, Listed, Session, SessionTree
from ondevice.errors import StorageTrouble, UnknownSession
from ondevice.storage.sessions import Sessions


class Keeping:
    """Everything here may wait for the disk, so a screen calls it from a thread.

    All of it raises StorageTrouble.
    """

    def __init__(self, sessions: Sessions | None, chat: Chat) -> None:
        """`sessions=None` keeps nothing."""
        self._sessions, self._chat = sessions, chat

    # What there is

    @property
    def open_id(self) -> int | None:
        """The number of the open session; None where it is not stored."""
        session = self._chat.conversation.session
        return session.id if session else None

    @property
    def is_kept(self) -> bool:
        """Whether the open conversation is stored, or will be from its first message on."""
        return self._chat.conversation.is_kept

    def listed(self) -> list[Listed]:
        """All sessions, the one used last first."""
        return self._sessions.listed() if self._sessions else []

    def set_aside(self) -> list[Path]:
        """See `Sessions.set_aside`."""
        return self._sessions.set_aside() if self._sessions else []

    def search(self, text: str) -> list[Found]:
        """See `Sessions.search`."""
        return self._sessions.search(text) if self._sessions else []

    def tree(self, session_id: int | None) -> SessionTree:
        """A session with all its paths."""
        if session_id is None or self._sessions is None:
            return self._chat.conversation.tree
        return self._sessions.tree(session_id)

    # What one does with it

    def rename(self, session_id: int, title: str) -> None:
        """Give it another title."""
        self._note(self._there.rename(session_id, title))

    def set_system_prompt(self, session_id: int | None, text: str) -> None:
        """What the model is told from the next turn on."""
        if session_id in (None, self.open_id):
            self._chat.conversation.set_system_prompt(text)
            self._chat.look()
        else:
            self._there.set_system_prompt(session_id or 0, text)

    def delete(self, session_ids: Iterable[int]) -> None:
        """Delete sessions for good; their accounts stay."""
        due = list(session_ids)
        if self.open_id in due:
            self._chat.open(None)  # first: whatever comes now must not go on in it
        try:
            self._there.delete(due)
        finally:
            self._leave_what_is_gone()

    def delete_all(self) -> None:
        """Delete every session for good, and what a damaged database left."""
        if self.open_id is not None:
            self._chat.open(None)
        try:
            self._there.delete_all()
        finally:
            self._leave_what_is_gone()

    def _leave_what_is_gone(self) -> None:
        """It may have been read to be opened before the delete had begun."""
        open_id = self.open_id
        try:
            if open_id is not None:
                self._there.get(open_id)
        except UnknownSession:
            self._chat.open(None)

    def export(self, session_id: int | None, form: str, folder: Path) -> Path:
        """A new file in `folder`, see `transfer.write_new`."""
        return transfer.write_new(folder, self.tree(session_id), form)

    def take_in(self, path: Path) -> Session:
        """Make a session of an exported file. Raises UsageTrouble, NotASession."""
        return self._there.restore(transfer.read_file(path))

    @property
    def _there(self) -> Sessions:
        if self._sessions is None:
            raise StorageTrouble("nothing is kept here", hint="See what was said at the start.")
        return self._sessions

    def _note(self, session: Session) -> None:
        if session.id == self.open_id:
            self._chat.conversation.session = session
