"""The last line: the keys of the screen, and how keys are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

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


STAYS = ("help", "quit", "stop", "write", "back")
"""Actions whose keys give way to no other: they lead on, back and out."""


def fitting(entries: Iterable[Widget], width: int) -> list[Widget]:
    """Those that fit side by side: of the keys that may go the last ones do, whole."""
    left = list(entries)
    while sum(map(_columns, left)) - 1 > width:
        may_go = [each for each in left if getattr(each, "action", "") not in STAYS]
        if not may_go:
            break
        left.remove(may_go[-1])
    return left


def _columns(entry: Widget) -> int:
    """With the gap behind it."""
    if not isinstance(entry, FooterKey):
        return 0
    return cell_len(entry.key_display) + cell_len(entry.description) + 2


class Keys(Footer):
    """Textual's footer with the keys that fit, without the memory of keys it showed before.

    Textual 8.2 makes new widgets whenever the keys change, and what binds the old ones to `compact`
    keeps them: half a megabyte a turn. Telling of a change is what drops them.
    """

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)

    def compose(self) -> ComposeResult:
        yield from fitting(super().compose(), self.screen.size.width)

    def on_resize(self, event: events.Resize) -> None:
        """Other keys fit."""
        self.call_after_refresh(self.recompose)

    async def recompose(self) -> None:
        await super().recompose()
        self.mutate_reactive(Footer.compact)
