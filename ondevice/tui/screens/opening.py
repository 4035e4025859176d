"""The side of the chat screen that shows a session: another one, another path of it, its title."""

from __future__ import annotations

from textual import on

from ondevice.chat import Chat
from ondevice.settings import Settings
from ondevice.tui import messages
from ondevice.tui.live import Live
from ondevice.tui.message_acts import MessageActs
from ondevice.tui.screens.composing import ComposingScreen
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.talk import Talk


class OpeningScreen(ComposingScreen):
    """A screen with the conversation that is open."""

    def __init__(self, chat: Chat, settings: Settings, live: Live) -> None:
        super().__init__(chat, settings, live)
        self._acts = MessageActs(self, chat)
        self._shown = chat.conversation

    def open(self, wanted: Wanted) -> None:
        """Show a stored conversation, at that message, or an empty new one."""
        if self._finishes and self._waiting.put(wanted):
            self._conversation.name_title("Opening …")
        elif not self.stop_first():
            self._conversation.name_title("Opening …")
            self._waiting.begin(wanted)
            self._acts.open(wanted, self._waiting.done)

    @on(messages.ActFailed)
    async def _show_act_failure(self, event: messages.ActFailed) -> None:
        """A question that waits for what was not done is for what is not on the screen."""
        if self._leaving:
            return  # it is kept in a new one
        if waited := self._waiting.give_back():
            self.query_one(Composer).give_back(waited)
        if self._shown is not self._chat.conversation:  # the one before was deleted
            await self._show_path(messages.PathChanged(None))
        self._name_title()
        self._say(f"{event.error.message}. {event.error.hint}", "warning")

    @on(messages.SessionsChanged)
    def _look_at_session(self) -> None:
        if self.is_current and not self.busy:  # else it is looked at when it is
            self.refresh_session()

    def refresh_session(self) -> None:
        """What is open may have another title, or have been deleted."""
        if self._shown is not self._chat.conversation:
            self.post_message(messages.PathChanged(None))
        self._name_title()

    def action_new(self) -> None:
        """Begin a new session; the old one stays in the list."""
        self.open(Wanted(None))

    @on(messages.PathChanged)
    async def _show_path(self, event: messages.PathChanged) -> None:
        """All of it, before what was sent meanwhile goes off."""
        self._live.begin_turn()
        if self._shown is not self._chat.conversation:
            self.forget_schema()
        self._shown = self._chat.conversation
        self.app.set_class(not self._shown.is_kept, "private")
        stored = self._shown.messages
        self.query_one(Composer).remember([each.content for each in stored if each.role == "user"])
        self._name_title()
        self.query_one(Talk).action_write()
        await self._conversation.show(stored, self._shown.places())
        if event.at is not None:
            await self._conversation.stand_on(event.at)

    def _name_title(self) -> None:
        shown = self._chat.conversation
        nameless = "" if shown.is_kept else "Private session"
        self._conversation.name_title(shown.session.title if shown.session else nameless)
