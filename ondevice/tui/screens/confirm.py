"""A question before something that costs or destroys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ondevice.domain.text import clean_line

Lines = Sequence[tuple[str, str]]
LABEL = 10
WIDEST, FRAME = 90, 6
"""Columns of the box, and of its border and padding, as its style sheet has them."""


def labelled(lines: Iterable[tuple[str, str]], width: int) -> Content:
    """Labels and words, wrapped at `width` columns beside the labels."""
    rows = []
    for label, words in lines:
        wrapped = textwrap.wrap(clean_line(words, 400), max(20, width - LABEL)) or [""]
        rows.append(Content.assemble((f"{label:<{LABEL}}", "dim"), wrapped[0]))
        rows += [Content(" " * LABEL + line) for line in wrapped[1:]]
    return Content("\n").join(rows)


class ConfirmScreen(ModalScreen[bool]):
    """Shows what will happen. Returns True for Y, False for Esc or N; Enter alone does nothing."""

    CSS_PATH = "../styles/confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "answer(True)", "Yes", id="confirm.yes", tooltip="Do it."),
        Binding("escape,n,N", "answer(False)", "No", id="confirm.no", tooltip="Leave it."),
    ]

    def __init__(self, title: str, lines: Lines, yes: str) -> None:
        """`lines` are labels with words; `yes` says what Y does."""
        super().__init__()
        self._heading, self._lines, self._yes = title, lines, yes

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="confirm") as box:
            # as Content: a string would be read as markup
            box.border_title = Content(clean_line(self._heading, 60))
            box.border_subtitle = Content(f"Y {self._yes} · Esc goes back")
            yield Static(self._content(), id="lines")

    def show(self, lines: Lines) -> None:
        """Say something else, for what became known meanwhile."""
        self._lines = lines
        if self.is_attached:
            self.query_one("#lines", Static).update(self._content())

    def _content(self) -> Content:
        width = min(WIDEST, self.app.size.width * 9 // 10) - FRAME
        return labelled(self._lines, width)

    def action_answer(self, yes: bool) -> None:
        """Return the answer."""
        self.dismiss(yes)
