"""Where a person writes: Enter sends, Shift+Enter or Ctrl+J breaks the line, Up recalls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message

from ondevice.domain.text import clean
from ondevice.tui.widgets.fields import TextField
from ondevice.tui.widgets.keys import as_written

NEWLINES = ("shift+enter", "ctrl+j")


class Composer(TextField):
    """A text area that sends."""

    BINDINGS = [
        Binding(
            "enter", "send", "Send", id="composer.send", show=False, tooltip="Send what is written."
        ),
        Binding(
            ",".join(NEWLINES),
            "newline",
            "New line",
            id="composer.newline",
            show=False,
            tooltip="Break the line. Ctrl+J works in every terminal.",
        ),
        # A page of a few lines is of no use, so these two are not the text area's.
        Binding(
            "pageup",
            "screen.scroll_talk(-1)",
            "Scroll up",
            id="composer.page_up",
            show=False,
            tooltip="Read what went before.",
        ),
        Binding(
            "pagedown",
            "screen.scroll_talk(1)",
            "Scroll down",
            id="composer.page_down",
            show=False,
            tooltip="Go towards the end.",
        ),
    ]

    @dataclass
    class Sent(Message):
        """The person wants this answered."""

        text: str
        instead_of: int | None = None
        """The question in whose place it is asked, by its id; None for a new one."""

    def __init__(self) -> None:
        super().__init__(
            id="composer",
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            highlight_cursor_line=False,
            compact=True,
        )
        self._keys: dict[str, Callable[[], None]] = {}
        self.use_keys({})
        self.outgoing: list[Composer.Sent] = []
        """Sent, and yet to be taken by the screen: messages are lost while an app ends."""
        self._history: list[str] = []
        self._recalled: int | None = None
        self._draft = ""

    def use_keys(self, keymap: Mapping[str, str]) -> None:
        """Take these keys, by the names of the bindings above, instead of the usual ones."""
        send = keymap.get("composer.send", "enter").split(",")
        newline = keymap.get("composer.newline", ",".join(NEWLINES)).split(",")
        self._keys = dict.fromkeys(newline, self.action_newline)
        self._keys |= dict.fromkeys(send, self.action_send)
        sends, breaks = as_written(send[0]), as_written(newline[0])
        # as Content: a string would be read as markup, which a key may be
        self.placeholder = Content(f"Ask anything. {sends} sends, {breaks} breaks the line.")

    @property
    def draft(self) -> str:
        """What is written here, and was not recalled just as it is; without spaces around it."""
        recalled = self._recalled is not None and self.text == self._history[self._recalled]
        return "" if recalled else self.text.strip()

    def action_send(self) -> None:
        """Hand the text over at once, so that what is typed next begins a new one."""
        if self.text.strip():
            self.send(self.Sent(self.text.strip("\n")))
            self.text = ""
            self._recalled = None

    def send(self, sent: Sent) -> None:
        """Hand a question over, which is not lost while the app ends."""
        self.outgoing.append(sent)
        self.post_message(sent)

    def action_newline(self) -> None:
        self.insert("\n")

    def accepted(self, text: str) -> None:
        """The text is on its way: remember it."""
        self._history.append(text)

    def give_back(self, text: str) -> None:
        """The text was not taken: put it above what was written since."""
        above = f"{text}\n" if text and self.text else text
        self.insert(above, (0, 0), maintain_selection_offset=True)

    def remember(self, texts: list[str]) -> None:
        """What Up recalls, oldest first."""
        self._history = [clean(text) for text in texts]
        self._recalled = None

    def action_cursor_up(self, select: bool = False) -> None:
        first = self.navigator.is_first_wrapped_line(self.cursor_location)
        if select or not first or not self._recall(-1):
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        last = self.navigator.is_last_wrapped_line(self.cursor_location)
        if select or not last or not self._recall(+1):
            super().action_cursor_down(select)

    def _recall(self, step: int) -> bool:
        """Show the history entry `step` away; False where there is none."""
        at = (len(self._history) if self._recalled is None else self._recalled) + step
        if not 0 <= at <= len(self._history) or (self._recalled is None and step > 0):
            return False
        if self._recalled is None:
            self._draft = self.text
        self._recalled = at if at < len(self._history) else None
        self.text = self._history[at] if at < len(self._history) else self._draft
        self.move_cursor(self.document.end)
        return True

    async def _on_key(self, event: events.Key) -> None:
        # Here, as bindings are asked only after keys that were pressed later.
        if action := self._keys.get(event.key):
            event.prevent_default()
            event.stop()
            action()
        else:
            await super()._on_key(event)
