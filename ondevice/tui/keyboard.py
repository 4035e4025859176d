"""Keys as Textual names them, and which of them every terminal sends.

A terminal sends bytes, not keys: most have none for Ctrl+Enter, and Ctrl+[ is Escape. Those with
Kitty's keyboard protocol send nearly every key. What is said here of all terminals is what xterm
sends, and what Textual makes of it; `tests/tui/test_keyboard.py` holds the two together.
"""

from __future__ import annotations

from difflib import get_close_matches
from string import ascii_lowercase

from textual.binding import Binding
from textual.keys import REPLACED_KEYS, key_to_character

from ondevice.domain.text import clean_line

MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
FUNCTION = [f"f{number}" for number in range(1, 13)]
MOVING = ["up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"]
OTHERS = ["escape", "enter", "tab", "backspace", "space"]
RARE = [f"f{number}" for number in range(13, 25)]
NAMES = [*FUNCTION, *MOVING, *OTHERS, *RARE]
CONTROL = {*ascii_lowercase} - {"h", "i", "m"} | {"@", "backslash", "right_square_bracket"}
"""With Ctrl they are a byte, and the same key where a terminal has Kitty's protocol."""
ALT = {*ascii_lowercase} - {"b", "f"}
"""Escape and a letter; with B and F that is what Ctrl+Left and Ctrl+Right are in some."""
SPACE = "ctrl+@,ctrl+space"
"""Ctrl+Space, without Kitty's protocol and with it."""


def spelled(keys: str) -> str:
    """As Textual names them: `?` is question_mark, `F5` is f5, `shift+d` is D."""
    return ",".join(_spelled(key.strip()) for key in keys.split(","))


def _spelled(key: str) -> str:
    *modifiers, base = [key] if len(key) == 1 else key.lower().split("+")
    if len(base) == 1:
        (binding,) = Binding.make_bindings([Binding(base, "")])
        base = binding.key
    modifiers.sort()  # as Textual does
    if modifiers == ["shift"] and len(base) == 1:
        return base.upper()
    if modifiers == ["ctrl"] and base in ("at", "space"):
        return SPACE
    return "+".join([*modifiers, base])


def unknown(key: str) -> str:
    """Why `key` is none, if it is none."""
    if not key:
        return "write a key, such as f12"
    *modifiers, base = key.split("+")
    if set(modifiers) <= MODIFIERS and (base in NAMES or character(base) or key == "ctrl+@"):
        return ""
    near = get_close_matches(base, NAMES, n=1)
    advice = f"; did you mean {'+'.join([*modifiers, near[0]])}?" if near else ""
    return f"no key is called {clean_line(key, 40)}{advice}"


def character(key: str) -> str:
    """What is typed by a key without Ctrl, if anything is: a field takes Alt+X for an X."""
    key = key.removeprefix("alt+").removeprefix("shift+")
    found = key_to_character(REPLACED_KEYS.get(key, key)) or ""
    return found if found.isprintable() else ""  # esc is a name of Unicode, too


def sent_by_all(key: str) -> bool:
    """Whether every terminal has a way to tell of it."""
    *modifiers, base = key.split("+")
    if not modifiers:
        return bool(base not in RARE and (base in NAMES or character(base)))
    if base in FUNCTION or base in MOVING:
        # F3 with a modifier is what a terminal answers when asked for its cursor.
        return base != "f3" and set(modifiers) <= {"alt", "ctrl", "shift"}
    if modifiers == ["ctrl"]:
        return base in CONTROL
    return key == "shift+tab" or (modifiers == ["alt"] and base in ALT)
