"""Terminals with few colours and people who want none: every screen can still be read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from terminal import Terminal

SCREENS = {
    "f1": "Help",
    "f2": "ondevice  Models",
    "f4": "ondevice  Sessions",
    "f9": "ondevice  Settings",
    "ctrl+o": "There is nothing to leave out",
}
"""Their keys, and what is there when they are."""
ANSWER = ["An *answer* ", "of **some** words:\n\n```python\n", "x = 'one'  # of\n```\n> said\n"]
SGR = re.compile(rb"\x1b\[([0-9;]*)m")
GREY = re.compile(r"([0-9a-f]{2})\1\1")


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return tuple(request.param)


def every_screen(terminal: Terminal, look: Callable[[], None]) -> None:
    """Show each in turn, the chat with an answer first."""
    terminal.wait_ready().write("question\r")
    terminal.expect("said")
    look()
    for key, shown in SCREENS.items():
        terminal.write(key)
        terminal.expect(shown)
        look()
        terminal.write("escape")
        terminal.expect("ondevice  Chat")
    terminal.write("f10")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize("term", ["xterm", "xterm-16color", "linux"])
def test_sixteen_colours_are_enough(
    open_terminal: Callable[..., Terminal], size: tuple[int, int], term: str
) -> None:
    terminal = open_terminal(*size, env={"TERM": term}, pieces=ANSWER)

    def look() -> None:
        hidden = [cell.data for cell in terminal.cells() if cell.fg == cell.bg != "default"]
        assert hidden == []

    every_screen(terminal, look)
    codes = {code for found in SGR.findall(terminal.raw) for code in found.split(b";")}
    assert not codes & {b"38", b"48"}


def test_with_no_color_there_are_only_greys(
    open_terminal: Callable[..., Terminal], size: tuple[int, int]
) -> None:
    env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}
    terminal = open_terminal(*size, env=env, pieces=ANSWER)
    seen: set[str] = set()

    def look() -> None:
        seen.update(colour for cell in terminal.cells() for colour in (cell.fg, cell.bg))
        assert [cell.data for cell in terminal.cells() if cell.fg == cell.bg] == []

    every_screen(terminal, look)
    assert [each for each in seen if not GREY.fullmatch(each)] == []
