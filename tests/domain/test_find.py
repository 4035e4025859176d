"""What is found, and where it begins and ends in the text as it was written."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.find import found

FOUND = {
    "any case": ("One one ONE", "oNe", ["One", "one", "ONE"]),
    "accents as one character or two": ("\u00e9n e\u0301n", "E\u0301N", ["\u00e9n", "e\u0301n"]),
    "no accent is another letter": ("caf\u00e9 cafe\u0301 cafe", "cafe", ["cafe"]),
    "a letter that folds into two": ("Straße STRASSE", "strasse", ["Straße", "STRASSE"]),
    "half of such a letter": ("Straße", "stras", []),
    "Hangul syllables are whole": ("한하", "하", ["하"]),
    "another script": ("ΟΔΟΣ οδός", "οδοσ", ["ΟΔΟΣ"]),
    "over a line": ("a\nb", "a\nb", ["a\nb"]),
    "none overlaps another": ("aaaaa", "aa", ["aa", "aa"]),
    "nothing to find": ("abc", "", []),
    "not there": ("abc", "x", []),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_a_text_is_found_as_it_was_written(name: str) -> None:
    text, query, places = FOUND[name]
    assert [text[start:end] for start, end in found(text, query)] == places


@given(st.text("aAé\u0301ßİ한 ", max_size=20), st.text("aAé\u0301ßİ한 ", max_size=20))
def test_what_is_put_between_two_other_words_is_found(before: str, after: str) -> None:
    places = found(f"{before}.needle.|{after}", ".NEEDLE.")
    assert places == [(len(before), len(before) + 8)]


@given(st.text(min_size=1, max_size=8))
def test_a_text_is_found_in_itself_in_either_encoding(text: str) -> None:
    other = normalize("NFC", text)
    if normalize("NFD", text) == text or other == text:
        assert found(other, text) == [(0, len(other))]
