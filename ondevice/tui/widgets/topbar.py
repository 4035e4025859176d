"""The first line: where you are, and what runs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from ondevice.domain.text import clean_line


class TopBar(Horizontal):
    """The app's name, the screen, and the model with its backend."""

    def compose(self) -> ComposeResult:
        yield Static("ondevice", id="brand")
        yield Static("Chat", id="where")
        yield Static("", id="running")

    def show(self, running: str) -> None:
        """Name what runs."""
        words = Content(clean_line(running, 90))
        self.query_one("#running", Static).update(words, layout=False)
