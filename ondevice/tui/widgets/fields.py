"""Fields to write in: what is pasted is taken whole and cleaned, or refused with a sentence; keys
do what they do in the order in which they were pressed. No cursor blinks: an idle app that paints
twice a second drains a battery.
"""

from __future__ import annotations

from textual import events
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, TextArea

from ondevice import units
from ondevice.domain.text import clean

LONGEST_TEXT = 400_000
"""Characters: more than any context here holds, and where editing gets slow."""


class TextField(TextArea):
    """Text of several lines."""

    cursor_blink = reactive(False, init=False)

    async def _on_key(self, event: events.Key) -> None:
        if not await _acts(self, event):
            await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()  # Textual would call the text area's own, too
        left = LONGEST_TEXT - len(self.text) + len(self.selected_text)
        if len(event.text) > left:
            event.stop()
            _refuse(self, LONGEST_TEXT)
            return
        event.text = _pasted(event.text)
        await super()._on_paste(event)


class LineField(Input):
    """One line: of several that are pasted it becomes one."""

    cursor_blink = reactive(False, init=False)

    async def _on_key(self, event: events.Key) -> None:
        if not await _acts(self, event):
            await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.text = _pasted(event.text).strip("\n").replace("\n", " ")
        most = self.max_length or 0
        left = most - len(self.value) + len(self.selected_text)
        if most and len(event.text) > left:
            event.stop()
            _refuse(self, most)
            return
        super()._on_paste(event)


async def _acts(field: Widget, event: events.Key) -> bool:
    """Do what the key is bound to in `field`, now; whether it is bound to something.

    Textual asks for bindings only after letters that were typed later. Where keys come in bursts,
    as over a slow network, Backspace would delete another letter, Ctrl+U what was typed since.
    """
    for binding in field._bindings.key_to_bindings.get(event.key, ()):
        if not binding.priority and await field.app.run_action(binding.action, field):
            event.prevent_default()
            event.stop()
            return True
    return False


def _pasted(text: str) -> str:
    """Cleaned; a lone return breaks the line as well."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


def _refuse(field: Widget, most: int) -> None:
    words = f"Not pasted: at most {units.count(most)} characters fit here."
    field.notify(words, severity="warning", markup=False)
