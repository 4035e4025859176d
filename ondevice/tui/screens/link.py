"""A link from a model: shown whole before anything opens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ondevice.domain.text import clean


class LinkScreen(ModalScreen[bool]):
    """Shows an address. Returns whether it is to be opened."""

    CSS_PATH = "../styles/link.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer(False)", "Back", id="link.back", tooltip="Open nothing."),
        Binding("o", "answer(True)", "Open", id="link.open", tooltip="Open it in the browser."),
    ]

    def __init__(self, href: str) -> None:
        super().__init__()
        self._href = href

    def compose(self) -> ComposeResult:
        with Vertical(id="link") as box:
            box.border_title = "This link goes to"
            box.border_subtitle = "O opens it in the browser · Esc goes back"
            yield Static(Content(clean(self._href)))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
