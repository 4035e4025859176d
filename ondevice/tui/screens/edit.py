"""Type a value, and see at once whether it can be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ondevice.domain.text import clean, clean_line
from ondevice.errors import OnDeviceError
from ondevice.tui.widgets.fields import LineField, TextField

LONGEST = 20_000
"""Characters of a value that is one line."""
LINE_BREAKS = ("shift+enter", "ctrl+j")


class Lines(TextField):
    """Text of several lines: Enter keeps it, Shift+Enter or Ctrl+J breaks the line."""

    def __init__(self, text: str, keep: Callable[[], object]) -> None:
        super().__init__(text, soft_wrap=True, compact=True, tab_behavior="focus")
        self._keep = keep

    async def _on_key(self, event: events.Key) -> None:
        if event.key != "enter" and event.key not in LINE_BREAKS:
            await super()._on_key(event)
            return
        event.prevent_default()
        event.stop()
        if event.key == "enter":
            self._keep()
        else:
            self.insert("\n")


class EditScreen(ModalScreen[str | None]):
    """A field with what is wrong below it. Returns a text that `check` took, or None."""

    CSS_PATH = "../styles/edit.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="edit.back", tooltip="Leave it as it was."),
    ]

    def __init__(
        self,
        title: str,
        about: str,
        text: str,
        check: Callable[[str], None],
        prose: bool,
        enter: str = "keeps it",
        taken: Callable[[str], object] = lambda _text: None,
    ) -> None:
        """`check` raises an OnDeviceError for what cannot be; `prose` has lines; `enter` says what
        Enter does. `taken` gets the text at once: while the app ends no result comes.
        """
        super().__init__()
        self._heading, self._about, self._text = title, about, clean(text)
        self._check, self._prose, self._enter, self._taken = check, prose, enter, taken

    def compose(self) -> ComposeResult:
        with Vertical(id="edit") as box:
            # as Content: a string would be read as markup
            box.border_title = Content(clean_line(self._heading, 60))
            breaks = "Ctrl+J breaks the line · " if self._prose else ""
            box.border_subtitle = f"Enter {self._enter} · {breaks}Esc goes back"
            yield Static(Content(self._about), id="about")
            if self._prose:
                yield Lines(self._text, self._keep)
            else:
                yield LineField(clean_line(self._text, LONGEST), compact=True, max_length=LONGEST)
            yield Static("", id="complaint")

    def on_mount(self) -> None:
        for lines in self.query(Lines):
            lines.move_cursor(lines.document.end)

    @property
    def value(self) -> str:
        """What is typed."""
        if self._prose:
            return self.query_one(Lines).text
        return self.query_one(Input).value

    def on_input_changed(self) -> None:
        self._complain()

    def on_text_area_changed(self) -> None:
        self._complain()

    def on_input_submitted(self) -> None:
        self._keep()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def _keep(self) -> None:
        if self.is_current and not self._complain():  # Enter may have been pressed twice
            self._taken(self.value)
            self.dismiss(self.value)

    def _complain(self) -> str:
        """Show what is wrong with the value, and return it; empty when nothing is."""
        words = ""
        try:
            self._check(self.value)
        except OnDeviceError as error:
            known = error.hint in self._about  # it stands above already
            words = error.message if known else f"{error.message}. {error.hint}"
        self.query_one("#complaint", Static).update(Content(clean_line(words, 400)))
        return words
