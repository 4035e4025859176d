"""The side of the chat screen where a question comes about: its files, its schema, its room."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.content import Content
from textual.widgets import TextArea

from ondevice.chat import Chat
from ondevice.domain.text import clean_line
from ondevice.settings import Settings
from ondevice.tui import messages
from ondevice.tui.live import Live
from ondevice.tui.meanwhile import Meanwhile
from ondevice.tui.room_acts import RoomActs
from ondevice.tui.schema_acts import ask_schema
from ondevice.tui.screens.serving import ServingScreen
from ondevice.tui.waiting import Waiting
from ondevice.tui.widgets.bubble import Answer
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.keys import key_of


class ComposingScreen(ServingScreen):
    """A screen with a composer, over a model."""

    def __init__(self, chat: Chat, settings: Settings, live: Live) -> None:
        super().__init__(chat, settings, live)
        self.busy = False
        """Whether an answer is being made or stored."""
        self._answer: Answer | None = None
        """The one being made."""
        self._waiting, self._leaving = Waiting(), False
        self._composer: Composer | None = None
        """The one on the screen, also once that is gone."""
        self._told_of = ""
        """What was written and not sent when leaving was asked for."""
        self._room, self._meanwhile = RoomActs(self, chat), Meanwhile(self, chat)
        self._schema = ""
        """The file of the schema that answers keep to."""

    @property
    def _finishes(self) -> bool:
        """Whether what came before is being stored, counted or opened, which ends by itself."""
        return self.busy and self._answer is None

    def stop_first(self) -> bool:
        """Whether an answer is running; then that is said."""
        if self.busy:
            stops = f"{key_of(self, 'chat.stop')} stops the answer first."
            self._say("What came before is not done yet." if self._finishes else stops)
        return self.busy

    def leave_if_sent(self, leave: Callable[[], None]) -> None:
        """Leave, unless something is written and not sent, and so kept nowhere: of each text that
        is said once. The composer has first taken the keys that were pressed until now."""
        if self._composer is None or not self._composer.call_later(self._tell_or_leave, leave):
            leave()

    def _tell_or_leave(self, leave: Callable[[], None]) -> None:
        draft = self._composer.draft if self._composer else ""
        told, self._told_of = self._told_of, draft
        if self._leaving or draft in ("", told):
            leave()
        else:
            self._say(f"What you wrote is not sent. {key_of(self, 'app.quit')} again leaves it.")

    def begin_no_more(self) -> None:
        """The app is being left: what is sent from now on is only kept."""
        self._leaving = True
        self._end_wait(False)

    def keep_waiting(self) -> list[str]:
        """Store what still waits, once every thread has ended; returns what could not be."""
        for sent in self._composer.outgoing if self._composer else ():
            self._waiting.put(sent)
        return self._waiting.keep(self._chat)

    def is_not_ready(self) -> bool:
        """Whether no answer can be begun now; then that is said."""
        return self.stop_first() or self.load_first()

    def action_room(self) -> None:
        """See what fills the context."""
        self._room.ask()

    def action_schema(self) -> None:
        """Choose a schema, or none."""
        ask_schema(self, self._chat, self._schema)

    def show_schema(self, name: str) -> None:
        """Say above the composer which one holds; empty for none."""
        self._schema = name
        told = clean_line(f"Answers keep to {name}", 60) if name else ""
        self.query_one(Composer).border_title = Content(told)  # a string would be read as markup

    def forget_schema(self) -> None:
        """It was for the session that was open."""
        self._chat.schema = None
        self.show_schema("")

    @on(TextArea.Changed)
    def _note_draft(self) -> None:
        self._meanwhile.note_draft()

    @on(messages.DraftCounted)
    def _show_cost(self, event: messages.DraftCounted) -> None:
        self._meanwhile.show_cost(event)
