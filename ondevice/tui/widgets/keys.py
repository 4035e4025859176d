"""The last line: the keys of the screen, and how keys are called."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer

NAMES = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}
NAMES |= {"up": "↑", "down": "↓", "@": "Space"}  # terminals send Ctrl+Space as Ctrl+@


def as_written(key: str) -> str:
    """A key as keyboards write it: F1, Esc, Ctrl+J, Shift+D for a capital letter."""
    if len(key) == 1 and key.isupper():
        return f"Shift+{key}"
    return "+".join(NAMES.get(part, part.capitalize()) for part in key.split("+"))


def written(keys: str) -> list[str]:
    """Keys with commas, each as it is written; one that has two names is one."""
    return list(dict.fromkeys(map(as_written, keys.split(","))))


def key_of(screen: Screen[Any], name: str) -> str:
    """The key that holds for an action of `screen` or of the app, by the action's name."""
    changed: dict[str, str] = getattr(screen.app, "keys", {})
    for node in (screen, screen.app):
        for binding in node.BINDINGS:
            if isinstance(binding, Binding) and binding.id == name:
                return as_written(changed.get(name, binding.key).partition(",")[0])
    raise KeyError(name)


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
