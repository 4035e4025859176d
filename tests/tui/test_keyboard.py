"""Which keys every terminal sends: what xterm sends for them is read as those keys."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from string import ascii_lowercase, printable

import pytest
from terminal import Terminal
from textual import events
from textual._xterm_parser import XTermParser

from ondevice.tui import keymap
from ondevice.tui.keyboard import NAMES, sent_by_all, spelled, unknown

CURSOR = dict(zip(("up", "down", "right", "left", "end", "home"), "ABCDFH", strict=True))
FUNCTION = dict(zip(("f1", "f2", "f3", "f4"), "PQRS", strict=True))
NUMBERED = {"insert": 2, "delete": 3, "pageup": 5, "pagedown": 6} | dict(
    zip((f"f{n}" for n in range(5, 13)), (15, 17, 18, 19, 20, 21, 23, 24), strict=True)
)
PLAIN = {"escape": "\x1b", "enter": "\r", "tab": "\t", "backspace": "\x7f", "space": " "}
MODIFIERS = {"": 0, "shift+": 1, "alt+": 2, "ctrl+": 4, "ctrl+shift+": 5, "alt+shift+": 3,
             "alt+ctrl+": 6, "alt+ctrl+shift+": 7}  # fmt: skip


def of_xterm() -> dict[str, str]:
    """What it sends, by the key that is pressed."""
    sent = {"shift+tab": "\x1b[Z", **PLAIN}
    for (before, bits), (key, letter) in product(MODIFIERS.items(), CURSOR.items()):
        sent[before + key] = f"\x1b[1;{1 + bits}{letter}" if bits else f"\x1b[{letter}"
    for (before, bits), (key, letter) in product(MODIFIERS.items(), FUNCTION.items()):
        sent[before + key] = f"\x1b[1;{1 + bits}{letter}" if bits else f"\x1bO{letter}"
    for (before, bits), (key, number) in product(MODIFIERS.items(), NUMBERED.items()):
        sent[before + key] = f"\x1b[{number};{1 + bits}~" if bits else f"\x1b[{number}~"
    sent |= {f"ctrl+{letter}": chr(ord(letter) - 96) for letter in ascii_lowercase}
    sent |= {f"alt+{letter}": f"\x1b{letter}" for letter in ascii_lowercase}
    sent |= {spelled(each): each for each in printable if each.isprintable() and each not in " ,"}
    return sent | {"ctrl+@": "\0", "ctrl+backslash": "\x1c", "ctrl+right_square_bracket": "\x1d"}


def read(sent: str) -> list[str]:
    """The keys that Textual makes of it."""
    parser = XTermParser()
    found = [*parser.feed(sent), *parser.feed("")]
    return [event.key for event in found if isinstance(event, events.Key)]


def test_what_every_terminal_sends_is_read_as_that_key_and_nothing_else_is_said_to_be_sent() -> (
    None
):
    sent = of_xterm()
    works = {key for key in sent if read(sent[key]) == [key]}
    assert {key for key in sent if sent_by_all(key)} == works
    modified = [f"{before}{key}" for before in MODIFIERS for key in (*NAMES, *ascii_lowercase)]
    assert {key for key in modified if sent_by_all(key)} <= works


@pytest.mark.parametrize(
    "key",
    ["ctrl+enter", "shift+enter", "ctrl+tab", "ctrl+shift+a", "ctrl+1", "ctrl+space", "alt+f",
     "shift+f3", "f13", "super+a", "alt+slash", "ctrl+left_square_bracket"],
)  # fmt: skip
def test_what_few_terminals_send_is_known_as_a_key_all_the_same(key: str) -> None:
    assert not sent_by_all(key)
    assert unknown(key) == ""


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("?", "question_mark"),
        ("F5", "f5"),
        ("Ctrl+T", "ctrl+t"),
        ("shift+d", "D"),
        ("D", "D"),
        ("shift+ctrl+a", "ctrl+shift+a"),
        ("ctrl+[", "ctrl+left_square_bracket"),
        ("ctrl+]", "ctrl+right_square_bracket"),
        ("ctrl+\\", "ctrl+backslash"),
        ("ctrl+space", "ctrl+@,ctrl+space"),
        ("ctrl+@", "ctrl+@,ctrl+space"),
        ("f12, ctrl+Space", "f12,ctrl+@,ctrl+space"),
    ],
)
def test_keys_are_spelled_as_textual_names_them(written: str, key: str) -> None:
    assert spelled(written) == key


@pytest.mark.parametrize("action", keymap.actions().values(), ids=lambda action: action.id)
def test_every_action_has_a_usual_key_that_every_terminal_sends(action: keymap.Action) -> None:
    assert any(map(sent_by_all, action.keys.split(",")))


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [("ctrl+space", "\0"), ("ctrl+]", "\x1d"), ("ctrl+f5", "\x1b[15;5~"),
     ("ctrl+enter, f12", "\x1b[24~"), ("ctrl+enter, f12", "\x1b[13;5u")],
)  # fmt: skip
def test_a_chosen_key_works_on_a_terminal(
    chosen: str, sent: str, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(settings=f'[keymap]\n"app.help" = "{chosen}"\n').wait_ready()
    terminal.write(sent)
    terminal.expect("Esc goes back")
    terminal.write("escape")
    terminal.write("f10")
    assert terminal.exit_code() == 0
