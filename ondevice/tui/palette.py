"""What the palette lists: what the keys do, and what has no key."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.reading import ASKS

UNLISTED = ("app.interrupt", "app.palette")
"""Actions that are of no use in the palette."""
SCHEMA = "Have the session's next answers keep to a JSON schema, or no longer."


def of_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What the keys of the app and of the chat do."""
    for source, namespace in ((app, "app"), (screen, "screen")):
        for binding in source.BINDINGS:
            if isinstance(binding, Binding) and binding.id not in UNLISTED:
                action = partial(app.run_action, f"{namespace}.{binding.action}")
                yield SystemCommand(binding.description, binding.tooltip, action)
    action = partial(app.run_action, "screen.schema")
    yield SystemCommand("Schema", SCHEMA, action)  # too seldom wanted for a key
    talk = screen.query_one(Conversation)
    for name, ask in ASKS.items():
        words = f"{ask.about[:1].upper()}{ask.about[1:]}"
        yield SystemCommand(ask.binding.description, words, partial(talk.action_ask, name))
