"""Nothing a model, a file or a paste says is obeyed by the terminal, and nothing stops the app."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hostile import ATTACKS, FORBIDDEN, attack
from terminal import PASTE, PASTE_END, Terminal

PATIENT_S = 2.0
"""What the app may work before it shows one letter; it took at most 0.5 s of a busy machine."""
STALLED_S = 10.0
"""By the clock, within which also what waits without working is noticed."""
NAME = "model \x1b]0;evil\x07 [/ [@click=app.quit]x \u202egpj \x9b31m"


def obeyed(terminal: Terminal) -> list[str]:
    """What reached the terminal and must not."""
    return [what for what, pattern in FORBIDDEN.items() if re.search(pattern, terminal.raw)]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(len(ATTACKS), id="each"),
        pytest.param(1000, id="1000", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1800)
def test_nothing_hostile_reaches_the_terminal(
    open_terminal: Callable[..., Terminal], count: int
) -> None:
    terminal = open_terminal(name=NAME, hostile=True).wait_ready()
    for number in range(count):
        terminal.write(f"{number}\r")
        terminal.expect(f"hint{number}")
        if number % 10 == 0:
            terminal.write("f4")
            terminal.expect("Sessions")
            terminal.write("escape")
        terminal.write("f8")
        terminal.expect("New session")
    terminal.write("f10")
    assert terminal.exit_code() == 0
    assert obeyed(terminal) == []


def test_a_hostile_paste_is_shown_without_what_a_terminal_obeys(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal().wait_ready()
    for number in range(len(ATTACKS)):
        text = attack(number).encode("utf-8", "replace").decode()
        terminal.write(f"{PASTE}{text[:300]}\nend{number}{PASTE_END}")
        terminal.expect(f"end{number}")
    terminal.write_bytes(b"\xff\xfe\xc3")
    terminal.write("still here")
    terminal.expect("still here")
    assert terminal.leave() == 0
    assert obeyed(terminal) == []


FLOODS = {
    "a line of 1 MB": {"pieces": ["word " * 200_000]},
    "a word of 1 MB": {"pieces": ["x" * 1_000_000]},
    "20,000 cells": {
        "pieces": ["|" + "a|" * 40 + "\n|" + "-|" * 40 + "\n" + ("|b" * 40 + "|\n") * 500]
    },
    "5,000 items": {"pieces": ["- item\n"] * 5000},
    "10,000 short lines": {"pieces": ["12\n"] * 10_000},
    "10,000 code spans": {"pieces": ["`a` " * 100] * 100},
    "10,000 brackets": {"pieces": ["[" * 10] * 1000},
    "Java that repeats itself": {"pieces": ["```java\n", *["a " * 50] * 200]},
    "2,000 lines of code": {"pieces": ["```python\n", *["x = 1\n"] * 2000]},
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_key_is_answered_while_a_flood_arrives(
    open_terminal: Callable[..., Terminal], flood: str
) -> None:
    terminal = open_terminal(**FLOODS[flood]).wait_ready()
    terminal.write("question\r")
    terminal.expect("─ question ─")  # a flood may be over, and its head out of sight, at once
    longest = waited = 0.0
    for letter in "ÀÁÂÃÄÅÆÇÈÉ":
        pressed, began = terminal.cpu_s(), time.monotonic()
        terminal.write(letter)
        terminal.expect(letter)
        longest = max(longest, terminal.cpu_s() - pressed)
        waited = max(waited, time.monotonic() - began)
    assert longest < PATIENT_S
    assert waited < STALLED_S
    assert terminal.leave() == 0


def test_an_endless_paste_is_refused_at_once_and_the_app_goes_on(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal().wait_ready()
    before = terminal.cpu_s()
    terminal.write_bytes(PASTE.encode() + b"0123456789" * 1_000_000 + PASTE_END.encode())
    terminal.expect("Not pasted")
    assert terminal.cpu_s() - before < PATIENT_S  # 0.2 s measured, against 17 s
    terminal.write("ÀÁ")
    terminal.expect("ÀÁ")
    assert terminal.leave() == 0
