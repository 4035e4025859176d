"""Rows of any script: as wide as the screen, with no character cut and none lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminal import Terminal
from textual.content import Content
from wcwidth import iter_graphemes, wcswidth

from ondevice.tui.widgets.cells import measured, row_ends, runs, whole
from ondevice.tui.widgets.markdown import parts
from ondevice.tui.widgets.rows import copied, folded, uncut, wrapped

SCRIPTS = {
    "accents": "e\u0301",
    "Han": "語",
    "Kana with a mark": "か\u3099",
    "Hangul": "한",
    "Hangul in parts": "\u1112\u1161\u11ab",
    "Thai": "ที่",
    "Hindi": "क्ष",
    "Hindi with a vowel": "त्रि",
    "Hebrew": "שָׁ",
    "Arabic": "بِ",
    "emoji": "👍",
    "emoji in a colour": "👍🏽",
    "a family": "👨‍👩‍👧",
    "a rainbow": "🏳️‍🌈",
    "a flag": "🇩🇪",
    "a heart": "❤️",
    "a keycap": "1️⃣",
}
TEXTS = st.lists(st.sampled_from([*SCRIPTS.values(), "a", "word", " ", "  ", "。", "「", "x"])).map(
    "".join
)
HOSTILE = st.text(
    st.sampled_from("a 語。「\u200d\ufe0f\u0301\u094dक🇩👍🏽❤\u200b\u200c\u1112\u1161ש"), max_size=60
)
WIDTHS = st.integers(8, 40)


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_reads_as_one_character_is_never_parted(name: str) -> None:
    text = SCRIPTS[name]
    assert list(measured(text).edges) == [0, len(text)]
    assert measured(text).cells[-1] == wcswidth(text)
    assert whole(f"a{text}b", len(text), -1) == (1, len(text) + 2)


@given(TEXTS, WIDTHS, st.booleans())
def test_rows_fit_and_end_between_characters(text: str, width: int, words: bool) -> None:
    ends = {0, *accumulate(map(len, iter_graphemes(text)))}
    for start, end in row_ends(text, width, words):
        assert {start, end} <= ends
        assert wcswidth(text[start:end]) <= width


@given(TEXTS, WIDTHS)
def test_a_row_that_is_folded_is_full(text: str, width: int) -> None:
    found = list(row_ends(text, width, words=False))
    for (start, end), (_, after) in pairwise(found):
        first = next(iter(iter_graphemes(text[end:after])))
        assert wcswidth(text[start:end] + first) > width


@given(HOSTILE, WIDTHS)
def test_nothing_is_lost_of_any_sequence(text: str, width: int) -> None:
    line = text.rstrip()
    assert copied(list(folded(Content(text), width)), 0, None) == text.rstrip(" ")
    assert copied(list(wrapped(Content(text), width)), 0, None) == line.rstrip(" ")


@given(HOSTILE, WIDTHS, st.integers(0, 20), st.integers(0, 20))
def test_a_row_is_as_wide_as_what_is_painted_of_it(
    text: str, width: int, start: int, end: int
) -> None:
    """Textual adds up the widths of differently styled parts; none may be half a character."""
    for row in folded(Content(text).stylize("bold", start, end), width):
        painted = [run for part, _ in uncut(row.content).render(end="") for run in runs(part)]
        assert "".join(painted) == row.content.plain
        cells = sum(Content(run).cell_length for run in painted)
        assert cells == measured(row.content.plain).cells[-1] <= width


SPOKEN = (
    "漢字とかな、그리고 한국어。 cafe\u0301 שָׁלוֹם עולם بِسْمِ اللَّه، ﷺ 👍 word " * 3
    + "\n\n```\n" + "e\u0301" * 100 + "漢" * 50 + "\n```\n"
    + "\n| 漢字 | עולם |\n|---|---|\n| é | 한 |\n"
)  # fmt: skip


def test_a_terminal_shows_every_row_as_wide_as_the_screen(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal(columns=80, lines=40, pieces=[SPOKEN, "finis"]).wait_ready()
    terminal.write("question\r")
    terminal.expect("finis")
    for columns in (80, 79, 61, 60, 59, 47, 46):
        terminal.resize(columns, 40)
        terminal.read_until(lambda columns=columns: whole_at(terminal.text(), columns))
    terminal.write("f10")
    assert terminal.exit_code() == 0


def whole_at(text: str, columns: int) -> bool:
    """Whether all of it is there, with the frame in the last column of each row."""
    rows = [line for line in text.splitlines() if line.startswith("│")]
    said = normalize("NFC", text)
    return (
        len(rows) > 30
        and all(wcswidth(row) == columns and row[-1] in "│▎" for row in rows)
        and (said.count("é"), said.count("漢"), said.count("한")) == (104, 54, 4)
    )


def test_lines_of_han_are_full_and_begin_with_no_full_stop() -> None:
    found = [row.content.plain for row in wrapped(Content("in 漢字漢字。「漢字」漢字"), 8)]
    assert found == ["in 漢字", "漢字。", "「漢字」", "漢字"]


def test_words_of_other_scripts_stay_whole() -> None:
    text = "שלום עולם ושלום مرحبا بالعالم"
    found = [row.content.plain for row in wrapped(Content(text), 12)]
    assert found == ["שלום עולם", "ושלום مرحبا", "بالعالم"]


@given(TEXTS, st.integers(1, 40))
def test_no_row_of_markdown_is_wider_than_the_screen(text: str, width: int) -> None:
    source = f"- {text}\n\n> {text}\n\n| {text} | b |\n|---|---|\n| c | {text} |\n\n```\n{text}\n"
    for part in parts(source):
        for block in part.blocks:
            room = max(width, 9 + block.rest.cell_length)
            assert all(row.content.cell_length <= room for row in block.rows(width))
