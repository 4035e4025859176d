"""What is done while nobody waits: counting what a draft attaches, saving what the model read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content
from textual.timer import Timer

from ondevice import units
from ondevice.chat import Chat
from ondevice.domain.generation import EngineNotice
from ondevice.domain.text import clean_line
from ondevice.errors import EngineCrashed, EngineTimedOut, NotAttached, OnDeviceError
from ondevice.tui import messages
from ondevice.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from ondevice.tui.screens.composing import ComposingScreen

COUNT_AFTER_S = 0.4
"""Since the last key: every count has the whole conversation rendered and tokenized."""
SAVE_AFTER_S = 10.0
"""Since the last answer: the next question would wait for a save that has begun."""


class Meanwhile:
    """Two timers, each of which starts a thread when it ends."""

    def __init__(self, screen: ComposingScreen, chat: Chat) -> None:
        self._screen, self._chat = screen, chat
        self._counting: Timer | None = None
        self._saving: Timer | None = None
        self._in_hand = self._again = False
        """Whether a draft is being counted; whether a newer one is to be, after that."""

    @property
    def _draft(self) -> str:
        return self._screen.query_one(Composer).text

    def note_draft(self) -> None:
        """The question that is being written has changed, or can be counted again."""
        if self._counting is not None:
            self._counting.stop()
            self._counting = None
        if "@" in self._draft:
            self._counting = self._screen.set_timer(COUNT_AFTER_S, self._count)
        else:
            self._screen.query_one(Composer).border_subtitle = ""

    def note_answer(self) -> None:
        """An answer has ended."""
        self.note_draft()
        if self._saving is not None:
            self._saving.stop()
        self._saving = self._screen.set_timer(SAVE_AFTER_S, self._save)

    def show_cost(self, counted: messages.DraftCounted) -> None:
        """Below the question, unless it has changed meanwhile."""
        again, self._in_hand, self._again = self._again, False, False
        if again:
            self.note_draft()
        elif counted.text == self._draft:
            words = Content(clean_line(counted.words, 70))  # a string would be read as markup
            self._screen.query_one(Composer).border_subtitle = words

    def _count(self) -> None:
        """One at a time: a question that is sent waits for those that have begun."""
        self._again = self._in_hand
        if not self._in_hand:
            self._in_hand = True
            self._in_thread(partial(self._post_cost, self._draft), "draft")

    def _post_cost(self, text: str) -> None:
        try:
            words = cost_of(self._chat, text)
        except NotAttached as refused:
            words = refused.message
        except OnDeviceError as error:
            words = ""
            self._say_if_gone(error)
        self._screen.post_message(messages.DraftCounted(text, words))

    def _save(self) -> None:
        if self._screen.busy:
            return  # the end of that answer asks again
        if self._draft:
            self.note_answer()  # somebody is about to send
        else:
            self._in_thread(self._keep, "save")

    def _keep(self) -> None:
        try:
            self._chat.save()
        except OnDeviceError as error:  # what is not saved is read again
            self._say_if_gone(error)

    def _say_if_gone(self, error: OnDeviceError) -> None:
        """Why the engine ended, where that is news; the screen sees by itself that it did."""
        if isinstance(error, EngineCrashed | EngineTimedOut):
            notice = EngineNotice("engine", f"{error.message}. {error.hint}")
            self._screen.post_message(messages.Noticed(notice))

    def _in_thread(self, act: Callable[[], None], group: str) -> None:
        self._screen.run_worker(act, thread=True, exit_on_error=False, group=group)


def cost_of(chat: Chat, text: str) -> str:
    """What the files that `text` names take of the context; empty where it names none.

    Raises NotAttached, and EngineTrouble, also while an answer is made.
    """
    draft = chat.draft(text)
    files = [file for message in draft for file in message.attached]
    if not files:
        return ""
    path = chat.conversation.messages
    before, after = chat.parts_of(path), chat.parts_of([*path, *draft])
    added = after.prompt.attached - before.prompt.attached
    share = f", {added / after.n_ctx * 100:.0f} % of the window" if after.n_ctx else ""
    room = "" if after.fits else " · no room for it"
    what = files[0].name if len(files) == 1 else f"{len(files)} files"
    return f"{what}: +{units.count(added)} tokens{share}{room}"
