"""Other keys for what the keys do: which there are, and which a person may choose.

Dialogs keep their keys: they name them on their frame.
A key is refused where it would be dead or would take what somebody needs: the text area's own keys
and letters in the chat, keys that terminals and tmux keep for themselves, keys of another action.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import DataTable, Input, OptionList, TextArea

from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid
from ondevice.settings import strayed
from ondevice.tui.keyboard import character, sent_by_all, spelled, unknown
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.keys import written
from ondevice.tui.widgets.meter import MeterPanel

if TYPE_CHECKING:
    from ondevice.tui.app import OnDeviceApp

IN_FILE = "settings.toml, [keymap]"
EVERYWHERE, CHAT = "app", "chat"
FOCUSED: dict[str, type[Widget]] = {
    EVERYWHERE: TextArea,
    CHAT: TextArea,
    "reading": VerticalScroll,
    "finding": Input,
    "models": DataTable,
    "sessions": DataTable,
    "costs": DataTable,
    "settings": OptionList,
}
"""What has the focus on a screen, and so gets its keys first."""
WITHIN = {"reading": CHAT, "finding": CHAT}
"""Where another place's keys work, too."""
NAMED = {
    "send": "composer.send",
    "newline": "composer.newline",
    "up": "composer.page_up",
    "help": "app.help",
}
"""What the conversation's texts name."""
RESERVED = {
    "ctrl+s": "stops the output of many terminals",
    "ctrl+q": "belongs to the flow control of terminals",
    "ctrl+b": "belongs to tmux",
    "ctrl+c": "copies and stops",
    "ctrl+i": "is Tab to a terminal",
    "ctrl+m": "is Enter to a terminal",
    "ctrl+h": "is Backspace to many terminals",
    "ctrl+left_square_bracket": "is Escape to a terminal",
    "tab": "moves the focus",
    "shift+tab": "moves the focus",
}


class Action(NamedTuple):
    """What a key does."""

    id: str
    keys: str
    """By default, with commas."""
    about: str
    screen: str
    """Where it works; `app` is everywhere."""


@cache
def actions() -> dict[str, Action]:
    """Every action with a name, by it. Imports all screens: 100 ms."""
    found: dict[str, Action] = {}
    for screen, kind in _classes():
        for binding in vars(kind).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                about = binding.tooltip or binding.description
                keys = spelled(binding.key)
                if binding.id not in found or binding.tooltip:  # a table may repeat its screen's
                    found[binding.id] = Action(binding.id, keys, about, screen)
    return found


def accept(wanted: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What of `wanted` may hold, and why the rest may not, by the action's name.

    An action whose key is refused keeps its own, which may take it from another: so in turns.
    """
    refused: dict[str, str] = {}
    good: dict[str, str] = {}
    for name, keys in wanted.items():
        chosen = spelled(keys)
        reason = _alone(name, chosen)
        if reason:
            refused[name] = reason
        else:
            good[name] = chosen
    while clash := _clash(good):
        name, reason = clash
        refused[name] = reason
        del good[name]
    return good, refused


def faults(wanted: Mapping[str, str]) -> list[str]:
    """Why some of the file's keys do not hold, with the place in it."""
    return _placed(accept(wanted)[1]) if wanted else []


def _placed(refused: Mapping[str, str]) -> list[str]:
    return [f"{IN_FILE}: {reason}" for reason in refused.values()]


def refuse(id: str, keys: str, others: Mapping[str, str]) -> None:
    """Raise SettingsInvalid where `keys` cannot be the keys of `id` beside `others`."""
    rest = {other: chosen for other, chosen in others.items() if other != id}
    _, refused = accept({**accept(rest)[0], id: keys})
    if id in refused:
        hint = f"What there is: {', '.join(actions())}." if id not in actions() else ""
        raise SettingsInvalid(
            refused[id], hint or "Choose another key; the help lists those in use."
        )


def _classes() -> Iterator[tuple[str, type]]:
    """Screens and widgets of ours that may bind keys, with the screen they work on."""
    from ondevice.tui import app, screens, widgets  # deferred: the app imports this module

    yield EVERYWHERE, app.OnDeviceApp
    for package in (widgets, screens):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            place = CHAT if package is widgets else module.name.rpartition(".")[2]
            for kind in vars(import_module(module.name)).values():
                ours = isinstance(kind, type) and kind.__module__ == module.name
                if ours and not issubclass(kind, ModalScreen):
                    yield getattr(kind, "PLACE", place), kind


def _alone(id: str, keys: str) -> str:
    """Why `keys` cannot be those of `id`, whatever the others are."""
    action = actions().get(id)
    if action is None:
        near = get_close_matches(id, actions(), n=1)
        advice = f"; did you mean {near[0]}?" if near else strayed(id)
        return f"nothing is called {clean_line(id, 60)}{advice}"
    for key in keys.split(","):
        if key in action.keys.split(","):
            continue
        reason = unknown(key) or _taken_by_nature(key, action.screen)
        if reason:
            return f"{id}: {reason}"
    if not any(map(sent_by_all, keys.split(","))):
        return f"{id}: few terminals send {keys}; add a key that all send, as in {keys},f12"
    return ""


def _taken_by_nature(key: str, screen: str) -> str:
    if key in RESERVED:
        return f"{key} {RESERVED[key]}"
    widget = FOCUSED.get(screen)
    if widget in (TextArea, Input) and character(key):
        return f"{key} would be typed"
    if widget is not None and key in _own_keys(widget):
        return f"{key} is one of those that move and edit there"
    return ""


def _clash(chosen: Mapping[str, str]) -> tuple[str, str] | None:
    """A chosen key that another action of the same screen has, unless both have it by default."""
    for name in reversed(list(chosen)):  # the one written last gives way
        action = actions()[name]
        for other in actions().values():
            if other.id == name or not _meet(action.screen, other.screen):
                continue
            shared = set(action.keys.split(",")) & set(other.keys.split(","))
            theirs = set(chosen.get(other.id, other.keys).split(","))
            for key in set(chosen[name].split(",")) & theirs - shared:
                return name, f"{name}: {key} is the key of {other.id}"
    return None


def _meet(one: str, other: str) -> bool:
    """Whether keys of both can be pressed at the same time."""
    same = EVERYWHERE in (one, other) or one == other
    return same or WITHIN.get(one) == other or WITHIN.get(other) == one


@cache
def _own_keys(widget: type[Widget]) -> frozenset[str]:
    """What a focused widget answers to, itself and through what it is made from."""
    kinds = [kind for kind in widget.__mro__ if issubclass(kind, DOMNode)]
    bindings = [each for kind in kinds for each in vars(kind).get("BINDINGS", ())]
    return frozenset(each.key for each in Binding.make_bindings(bindings))


def use(app: OnDeviceApp, wanted: Mapping[str, str]) -> list[str]:
    """Make the keys of `wanted` hold, and be named where a text names them.

    Returns why some cannot.
    """
    app.keys, refused = accept(wanted) if wanted else ({}, {})
    app.set_keymap(app.keys)
    chat = app.chat_screen
    chat.query_one(Composer).use_keys(app.keys)
    named = {
        what: " or ".join(written(app.keys.get(name, actions()[name].keys)))
        for what, name in NAMED.items()
    }
    chat.query_one(Conversation).name_keys(named)
    explains = Content(f"{named['help']} explains")  # a string would be read as markup
    chat.query_one(MeterPanel).border_subtitle = explains
    return _placed(refused)
