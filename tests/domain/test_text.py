"""Nothing a terminal obeys survives, and what people write does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.text import clean, clean_line, storable

ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
C0_C1_DEL = {chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))} - {"\n", "\t"}
BIDI_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(ANY)
def test_nothing_a_terminal_obeys_survives(text: str) -> None:
    cleaned = clean(text)
    assert not C0_C1_DEL & set(cleaned)
    assert not {unicodedata.bidirectional(one) for one in cleaned} & BIDI_CLASSES
    assert not set("\u2028\u2029\u200e\u200f\u061c") & set(cleaned)


@given(ANY)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean_line(clean_line(text)) == clean_line(text)


@given(ANY, st.integers(1, 40))
def test_a_cleaned_line_is_one_short_line(text: str, limit: int) -> None:
    line = clean_line(text, limit)
    assert len(line.splitlines()) <= 1
    assert len(line) <= limit
    assert line == line.strip()


@given(ANY)
def test_storable_text_is_valid_utf8_and_otherwise_the_same(text: str) -> None:
    kept = storable(text)
    assert len(kept) == len(text)
    assert kept.encode().decode() == kept
    assert all(a == b or "\ud800" <= b <= "\udfff" for a, b in zip(kept, text, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "plain text,\twith a tab\nand a line",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👍🏽",
        "e\u0301 a\u0308\u0323",
        "日本語 한국어 中文",
        "שלום עולם",
        "السلام عليكم",
        "क्‍ष ക്‌ഷ",
        "soft\u00adhyphen no\u00a0break",
        "[bold]markup[/] stays text",
    ],
    ids=[
        "ascii",
        "emoji",
        "combining",
        "cjk",
        "hebrew",
        "arabic",
        "joiners",
        "spaces",
        "markup",
    ],
)
def test_what_people_write_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b]52;c;aGk=\x07done", "]52;c;aGk=done"),
        ("\x1b[2Jgone", "[2Jgone"),
        ("\x9b31mred", "31mred"),
        ("safe\u202egpj.exe", "safegpj.exe"),
        ("a\r\nb\rc", "a\nbc"),
        ("a\u2028b\u2029c", "a\nb\nc"),
        ("nul\x00l", "null"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
    ],
    ids=["osc", "csi", "c1", "override", "returns", "separators", "nul", "surrogates"],
)
def test_what_a_terminal_obeys_is_taken_out(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_long_line_ends_with_an_ellipsis() -> None:
    assert clean_line("word " * 100, 12) == "word word w…"
