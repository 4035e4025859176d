"""What is done with one message of the conversation, on the keys of `widgets/reading.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.message import Message

from ondevice.chat import Chat
from ondevice.domain.session import StoredMessage
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.tui import messages
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from ondevice.tui.screens.opening import OpeningScreen

ABOUT_EDIT = "It is asked in the place of the first one, which stays with its answers on its path."


class MessageActs:
    """Asks where that is needed; what may wait for the disk is done in a thread."""

    @dataclass
    class AskedAgain(Message):
        """Another answer is to come into the place of this one, or to this question."""

        message: StoredMessage

    def __init__(self, screen: OpeningScreen, chat: Chat) -> None:
        self._screen, self._chat = screen, chat

    def do(self, asked: messages.MessageAsked) -> None:
        """What was asked for; only marks are taken while an answer is made."""
        message = asked.message
        if isinstance(asked, messages.UsefulMarked):
            self._screen.in_thread(partial(self._marked, message))
        elif not self._screen.stop_first():
            match asked:
                case messages.EditAsked():
                    self._edit(message)
                case messages.RegenerateAsked():
                    self._screen.post_message(self.AskedAgain(message))
                case messages.BranchAsked():
                    self._change_path(message.id, None)
                case messages.BeforeAsked():
                    self._step(message, -1)
                case messages.AfterAsked():
                    self._step(message, +1)
                case messages.PathsAsked():
                    self._pick(message)

    def open(self, wanted: Wanted, done: Callable[[], object]) -> None:
        """Show it first as it is: where the path cannot be changed, what is on the screen is what
        is open. `done` is called, in a thread, where all of it could be done.
        """
        self._screen.busy = True  # what is sent meanwhile goes off after it
        message_id = wanted.message_id

        def opened() -> Message:
            self._chat.open(wanted.session, wanted.private)
            shown = self._chat.conversation
            if message_id is not None and message_id not in {each.id for each in shown.messages}:
                self._screen.post_message(messages.PathChanged(None))
                shown.go_to(shown.end_below(message_id))
                self._chat.look()
            done()
            return messages.PathChanged(message_id)

        self._screen.in_thread(opened, messages.TurnOver())

    def _go_through(self, message_id: int) -> None:
        """Show the newest path on which this message is, and go to it."""
        self._change_path(self._chat.conversation.end_below(message_id), message_id)

    def _edit(self, message: StoredMessage) -> None:
        composer = self._screen.query_one(Composer)

        def taken(text: str) -> None:
            composer.send(Composer.Sent(text, message.id))

        screen = EditScreen("Ask again", ABOUT_EDIT, message.content, _refuse_blank, prose=True,
                            enter="sends it", taken=taken)  # fmt: skip
        self._screen.app.push_screen(screen)

    def _step(self, message: StoredMessage, step: int) -> None:
        """To what stands in the same place, before or after it."""
        same = [each.id for each in self._chat.conversation.beside(message)]
        at = same.index(message.id) + step
        if 0 <= at < len(same):
            self._go_through(same[at])
        else:
            word = "before" if step < 0 else "after"
            words = f"Nothing came into its place {word} it."
            self._screen.app.notify(words, markup=False)

    def _pick(self, message: StoredMessage) -> None:
        """One of all paths, by where it ends."""
        ends = self._chat.conversation.leaves()
        listed = [
            Choice(str(each.id), clean_line(each.content, 60) or "no answer yet",
                   "ends so" if each.role == "assistant" else "a question")
            for each in ends
        ]  # fmt: skip

        def chosen(key: str | None) -> None:
            if key is not None:
                self._change_path(int(key), int(key))

        title = f"Go to a path; they end with ({len(ends)})"
        self._screen.app.push_screen(PickScreen(title, listed, "Nothing matches."), chosen)

    def _marked(self, message: StoredMessage) -> Message:
        conversation = self._chat.conversation
        return messages.MessageMarked(conversation.mark_useful(message.id, not message.useful))

    def _change_path(self, end: int, at: int | None) -> None:
        if self._screen.stop_first():
            return
        self._screen.busy = True  # what is sent meanwhile goes off after it

        def changed() -> Message:
            self._chat.conversation.go_to(end)
            self._chat.look()
            return messages.PathChanged(at)

        self._screen.in_thread(changed, messages.TurnOver())


def _refuse_blank(text: str) -> None:
    if not text.strip():
        raise UsageTrouble("there is nothing to ask", hint="Write a question.")
