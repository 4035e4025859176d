"""The last line: the keys of the screen, and how keys are called."""

from __future__ import annotations

from textual.binding import Binding
from textual.widgets import Footer

NAMES = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "slash": "/",
    "up": "↑",
    "down": "↓",
}


def key_name(binding: Binding) -> str:
    """The key of `binding` as keyboards write it: F1, Esc, Ctrl+J."""
    if binding.key_display:
        return binding.key_display
    return "+".join(NAMES.get(part, part.capitalize()) for part in binding.key.split("+"))


class Keys(Footer):
    """Textual's footer, without the memory of keys it showed before.

    Textual 8.2 makes new widgets whenever the keys change, and what binds the old ones to `compact`
    keeps them: half a megabyte a turn. Telling of a change is what drops them.
    """

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)

    async def recompose(self) -> None:
        await super().recompose()
        self.mutate_reactive(Footer.compact)
