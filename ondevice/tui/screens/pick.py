"""Choose one of a list: baselines, conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ondevice.domain.text import clean, clean_line
from ondevice.tui.widgets.fields import LineField

LONGEST_TITLE = 44


@dataclass(frozen=True, slots=True)
class Choice:
    """One row. `key` is what the screen returns."""

    key: str
    title: str
    detail: str
    """One line; its spaces are kept, so columns stay columns."""
    usable: bool = True


class PickScreen(ModalScreen[str | None]):
    """A list with a filter. Returns the chosen key, or None."""

    CSS_PATH = "../styles/pick.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="pick.back", tooltip="Leave without choosing."),
        Binding("down", "move(1)", "Down", id="pick.down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", id="pick.up", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: list[Choice], empty: str) -> None:
        super().__init__()
        self._heading, self._choices, self._empty = title, choices, empty
        longest = max((len(choice.title) for choice in choices), default=0)
        self._title_width = min(LONGEST_TITLE, longest)

    def compose(self) -> ComposeResult:
        with Vertical(id="pick") as box:
            # as Content: a string would be read as markup
            box.border_title = Content(clean_line(self._heading, 60))
            box.border_subtitle = "Enter chooses · Esc goes back"
            yield LineField(placeholder="Type to filter", id="filter", compact=True, max_length=80)
            yield OptionList(id="choices", compact=True)
            yield Static(Content(self._empty), id="empty")

    def on_mount(self) -> None:
        self._fill("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        self.query_one(OptionList).action_select()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def _fill(self, text: str) -> None:
        words = text.lower().split()
        rows = [
            choice
            for choice in self._choices
            if all(word in f"{choice.title} {choice.detail}".lower() for word in words)
        ]
        rows.sort(key=lambda choice: not choice.title.lower().startswith(text.strip().lower()))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            Option(self._row(choice), id=choice.key, disabled=not choice.usable) for choice in rows
        )
        options.display = bool(rows)
        self.query_one("#empty").display = not rows
        if rows:
            options.action_first()

    def _row(self, choice: Choice) -> Content:
        title = Content(clean_line(choice.title, self._title_width or 1))
        gap = " " * (self._title_width - title.cell_length + 2)
        detail = clean(choice.detail).replace("\n", " ")
        return Content.assemble(title, gap, (detail, "dim"))
