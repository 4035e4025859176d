"""Making room in the context: what `screens/room.py` returns is done here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.message import Message

from ondevice.chat import Chat
from ondevice.tui import messages
from ondevice.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from ondevice.tui.screens.composing import ComposingScreen
    from ondevice.tui.screens.room import Wanted


class RoomActs:
    """Asks which way, then takes it; what may wait for the disk is done in a thread."""

    def __init__(self, screen: ComposingScreen, chat: Chat) -> None:
        self._screen, self._chat = screen, chat

    def ask(self) -> None:
        """Show what fills the context and what would make room, also for the question that is
        being written."""
        if self._screen.is_not_ready():
            return
        from ondevice.tui.screens.room import RoomScreen  # deferred: it judges memory

        draft = self._screen.query_one(Composer).text.strip()
        self._screen.app.push_screen(RoomScreen(self._chat, draft), self._make)

    def _make(self, wanted: Wanted | None) -> None:
        if self._chat.info is None:
            self._screen.note_engine_gone()
        elif wanted is not None and wanted.offer.kind == "raise":
            if self._chat.file is not None:
                options = replace(self._chat.options, n_ctx=wanted.offer.n_ctx)
                self._screen.load(self._chat.file, options)
        elif wanted is not None and not self._screen.stop_first():
            self._screen.busy = True  # what is sent meanwhile goes off after it
            self._screen.in_thread(lambda: self._cut(wanted), messages.TurnOver())

    def _cut(self, wanted: Wanted) -> Message:
        from ondevice.chat import room

        if wanted.offer.kind == "summarise":
            room.use_summary(self._chat, wanted.offer, wanted.summary)
        else:
            room.drop(self._chat, wanted.offer)
        return messages.PathChanged(None)
