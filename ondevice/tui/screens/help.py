"""Every key that works on the screen below, and what the numbers mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ondevice.domain import metrics


class HelpScreen(ModalScreen[None]):
    """Keys and definitions; any of F1, Esc or Q leaves."""

    CSS_PATH = "../styles/help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss", "Back", id="help.back", tooltip="Leave the help."),
    ]

    def __init__(self, bindings: list[Binding]) -> None:
        super().__init__()
        self._listed = bindings

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "Esc goes back"
            yield Static(self._keys(), classes="part")
            yield Static(Content(_definitions()), classes="part muted")

    def _keys(self) -> Content:
        rows = [
            Content.assemble(
                (f"{self.app.get_key_display(binding):<14}", "$accent"),
                f"{binding.description:<16}",
                (binding.tooltip, "dim"),
            )
            for binding in self._listed
        ]
        return Content("\n").join(rows)


def _definitions() -> str:
    assert metrics.__doc__ is not None
    return "What the numbers mean\n\n" + metrics.__doc__.split("\n\n", 1)[1].strip()
