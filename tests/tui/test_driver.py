"""Pastes are taken out of the input whole, however it is cut into reads."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from ondevice.tui.driver import PasteGate

START, END = "\x1b[200~", "\x1b[201~"


def taken(gate: PasteGate, *reads: str) -> list[str]:
    """What came out: plain text joined, a paste as `<paste>`."""
    out = [""]
    for read in reads:
        for piece in [*gate.pass_on(read), *gate.rest()]:
            if isinstance(piece, events.Paste):
                out += [f"<{piece.text}>", ""]
            else:
                out[-1] += piece
    return [piece for piece in out if piece]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param("abc\x1b[A", ["abc\x1b[A"], id="keys"),
        pytest.param("\x1b", ["\x1b"], id="escape"),
        pytest.param(f"a{START}two\r\nlines\r{END}b", ["a", "<two\nlines\n>", "b"], id="paste"),
        pytest.param(f"{START}{END}", ["<>"], id="empty"),
        pytest.param(f"{START}1{END}{START}2{END}", ["<1>", "<2>"], id="two"),
        pytest.param(f"{START}\x1b[31m\x00x\u202e{END}", ["<[31mx>"], id="hostile"),
    ],
)
def test_pastes_come_out_whole_and_clean(typed: str, expected: list[str]) -> None:
    assert taken(PasteGate(), typed) == expected


@given(st.lists(st.integers(0, 60)), st.text("ab\x1b[201~", max_size=20))
def test_a_paste_is_the_same_however_it_is_read(cuts: list[int], text: str) -> None:
    typed = f"{START}{text.replace(END, '')}{END}after"
    edges = sorted({0, len(START), len(typed), *(len(START) + cut for cut in cuts)})
    reads = [typed[low:high] for low, high in pairwise(edges)]
    assert taken(PasteGate(), *reads) == taken(PasteGate(), typed)


def test_one_character_more_than_the_limit_is_handed_on() -> None:
    gate = PasteGate(limit=10)
    assert taken(gate, START, *["x" * 7] * 1000, END) == [f"<{'x' * 11}>"]
    assert taken(gate, f"{START}short{END}") == ["<short>"]
