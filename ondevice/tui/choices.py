"""What the picker lists, baselines and sessions, and what the palette does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from ondevice.domain.session import Session
from ondevice.tui.doors import Doors
from ondevice.tui.screens.pick import Choice

UNLISTED = ("app.interrupt", "app.palette")
"""Actions that are of no use in the palette."""


def of_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What the keys of the app and of a screen do."""
    for source, namespace in ((app, "app"), (screen, "screen")):
        for binding in source.BINDINGS:
            if isinstance(binding, Binding) and binding.id not in UNLISTED:
                action = partial(app.run_action, f"{namespace}.{binding.action}")
                yield SystemCommand(binding.description, binding.tooltip, action)


def of_baselines(doors: Doors) -> list[Choice]:
    """What costs can be compared with."""
    return [Choice(key, title, why) for key, title, why in doors.baselines()]


def of_sessions(stored: Iterable[Session]) -> list[Choice]:
    """Earlier sessions."""
    return [Choice(str(one.id), one.title, _when(one.created_at)) for one in stored]


def _when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
