"""The conversation, and the field where one writes: keys go to either."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.finder import Finder
from ondevice.tui.widgets.meter import MeterLine
from ondevice.tui.widgets.prose import Prose


class Talk(Vertical):
    """Writing is where one begins, and where Escape leads back to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "read", "Read", id="talk.read",
                tooltip="Choose a message: to copy it, ask it again, branch from it or mark it."),
        Binding("escape", "write", "Write", id="talk.write",
                tooltip="While reading: back to writing."),
        # In the search itself Ctrl+F is its field's own.
        Binding("ctrl+f", "find", "Find", id="talk.find", show=False,
                tooltip="Find in the conversation."),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="talk")
        self._conversation = Conversation()

    def compose(self) -> ComposeResult:
        yield self._conversation
        yield Finder(self._conversation)
        yield MeterLine(id="line")
        yield Composer()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There must be something to read; Escape does other things where one writes."""
        if action == "write":
            return not self.query_one(Composer).has_focus
        reading = action == "read" and self._conversation.has_focus
        return self._conversation.can_focus and not reading

    def action_read(self) -> None:
        """To the messages."""
        self._conversation.focus(scroll_visible=False)

    def action_write(self) -> None:
        """To the composer; a search is over."""
        self.query_one(Finder).close()
        self.query_one(Composer).focus(scroll_visible=False)

    @on(Conversation.FindAsked)
    def action_find(self) -> None:
        """Open the search."""
        self.query_one(Finder).open()

    @on(Prose.LinkClicked)
    def _ask_before_opening(self, event: Prose.LinkClicked) -> None:
        self.app.push_screen(LinkScreen(event.href))
