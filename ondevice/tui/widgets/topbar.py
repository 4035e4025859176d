"""The first line: where you are, and what runs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from ondevice.domain.text import clean_line


class TopBar(Horizontal):
    """The app's name, the screen, a download under way, and the model with its backend.

    Between them stands that the conversation is private, while the app has that class.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where
        self.running = ""

    def compose(self) -> ComposeResult:
        yield Static("ondevice", id="brand")
        yield Static(self._where, id="where")
        yield Static("private: nothing is kept", id="private")
        yield Static("", id="fetching")
        yield Static("", id="running")

    def show(self, running: str) -> None:
        """Name what runs."""
        self.running = running
        words = Content(clean_line(running, 90))
        self.query_one("#running", Static).update(words, layout=False)

    def show_download(self, words: str) -> None:
        """Say how a download goes; empty while there is none."""
        for field in self.query("#fetching").results(Static):  # none while the app is left
            if str(field.content) != words:
                field.update(Content(words))
