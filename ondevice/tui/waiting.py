"""What is wanted while something before it is stored, counted or opened: it goes off after that."""

from __future__ import annotations

from typing import NamedTuple

from ondevice.chat import Chat
from ondevice.chat.ahead import keep
from ondevice.domain.session import Session
from ondevice.errors import OnDeviceError
from ondevice.tui.widgets.composer import Composer


class Wanted(NamedTuple):
    """What the chat is to show."""

    session: Session | None
    """None for a new one."""
    message_id: int | None = None
    """Where in it something was found."""
    private: bool = False


class Waiting:
    """Sessions to be opened and questions to be asked, in their order."""

    def __init__(self) -> None:
        self._due: list[Wanted | Composer.Sent] = []
        self._begun: Wanted | None = None
        """What a thread opens, until that is done or given up."""

    def put(self, wanted: Wanted | Composer.Sent) -> bool:
        """Whether it waits now: no session is opened behind a question, which is yet to be
        answered. Of two to be opened the later one is meant.
        """
        if isinstance(wanted, Wanted) and self._due:
            if isinstance(self._due[-1], Composer.Sent):
                return False
            self._due.pop()
        self._due.append(wanted)
        return True

    def take(self) -> Wanted | Composer.Sent | None:
        """The next one, which waits no more."""
        return self._due.pop(0) if self._due else None

    def begin(self, wanted: Wanted) -> None:
        """A thread opens it now."""
        self._begun = wanted

    def done(self) -> None:
        """What was begun is open."""
        self._begun = None

    def keep(self, chat: Chat) -> list[str]:
        """Store the questions unanswered, each in the session it was for, as the app is left; what
        was to be opened and cannot be is a new one. Returns those that could not be stored.
        """
        lost = []
        if self._begun is not None:  # it failed as the app was left; what waits is for it
            self._due.insert(0, self._begun)
        while (due := self.take()) is not None:
            if isinstance(due, Composer.Sent):
                lost += [] if keep(chat, due.text, due.instead_of) else [due.text]
            elif self._due:
                _go(chat, due)
        return lost

    def give_back(self) -> str:
        """The questions that were for what was not done, which wait no more."""
        self._begun, texts = None, []
        while self._due and isinstance(first := self._due[0], Composer.Sent):
            texts.append(first.text)
            self._due.pop(0)
        return "\n".join(texts)


def _go(chat: Chat, wanted: Wanted) -> None:
    try:
        chat.open(wanted.session, wanted.private)
        if wanted.message_id is not None:
            chat.conversation.go_to(chat.conversation.end_below(wanted.message_id))
    except OnDeviceError:  # it was deleted meanwhile
        chat.open(None)
