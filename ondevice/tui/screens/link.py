"""A link from a model: shown whole before anything opens."""

from __future__ import annotations

import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ondevice.domain.text import clean
from ondevice.hardware.system import has_desktop

LONGEST_ADDRESS = 2000


class LinkScreen(ModalScreen[None]):
    """Shows an address, and opens it when asked to, if it is one of the web."""

    CSS_PATH = "../styles/link.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", id="link.back", tooltip="Open nothing."),
        Binding("o", "open", "Open", id="link.open", tooltip="Open it in the browser."),
        Binding("c", "copy", "Copy", id="link.copy", tooltip="Copy the address."),
    ]

    def __init__(self, href: str) -> None:
        super().__init__()
        self.address = clean(href)
        web = self.address.lower().startswith(("https://", "http://"))
        self._refusal = ""
        if not web:
            self._refusal = "Only web addresses (http, https) are opened."
        elif len(self.address) > LONGEST_ADDRESS:
            self._refusal = "Too long to be an address worth opening."
        elif not has_desktop(os.environ):
            self._refusal = "There is no desktop here for a browser to open on."

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="link") as box:
            box.border_title = "This link goes to"
            opens = "" if self._refusal else "O opens it in the browser · "
            box.border_subtitle = f"{opens}C copies it · Esc goes back"
            yield Static(Content(self.address[:LONGEST_ADDRESS]))
            if self._refusal:
                yield Static(Content(self._refusal), classes="refusal")

    def action_open(self) -> None:
        """Open the address in the browser."""
        if not self._refusal:
            self.app.open_url(self.address)
            self.dismiss()

    def action_copy(self) -> None:
        """Copy the address through the terminal."""
        self.app.copy_to_clipboard(self.address)
        self.dismiss()
        self.notify("The address was handed to the terminal's clipboard.", markup=False)
