"""Text out of token bytes: complete, valid, and ending at a stop string."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.engines.stream import TextStream

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def read(data: bytes, cuts: list[int], stop: tuple[str, ...] = ()) -> tuple[str, bool]:
    """`data` fed in pieces that end at `cuts`, as an engine feeds it."""
    stream, shown = TextStream(stop), ""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        shown += stream.feed(data[begin:end])
        if stream.stopped:
            break
    return shown + stream.finish(), stream.stopped


def before_first_stop(text: str, stop: tuple[str, ...]) -> str:
    """The definition: stop as soon as some stop string is complete, show what precedes it."""
    for end in range(len(text) + 1):
        starts = [end - len(one) for one in stop if one and text[:end].endswith(one)]
        if starts:
            return text[: min(starts)]
    return text


@given(TEXT, st.lists(st.integers(0, 200), max_size=12))
def test_text_cut_at_any_bytes_comes_out_equal(text: str, cuts: list[int]) -> None:
    assert read(text.encode(), cuts) == (text, False)


@given(
    st.text("abcé", max_size=20),
    st.lists(st.text("abcé", max_size=4), max_size=3).map(tuple),
    st.lists(st.integers(0, 60), max_size=12),
)
def test_only_text_before_the_first_stop_string_is_shown(
    text: str, stop: tuple[str, ...], cuts: list[int]
) -> None:
    expected = before_first_stop(text, stop)
    assert read(text.encode(), cuts, stop) == (expected, expected != text)


@given(st.binary(max_size=40), st.lists(st.integers(0, 60), max_size=8))
def test_broken_bytes_become_valid_text_wherever_they_are_cut(data: bytes, cuts: list[int]) -> None:
    text, _ = read(data, cuts)
    assert text == data.decode("utf-8", "replace")
    text.encode()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        pytest.param([b"\xf0\x9f", b"\x99\x82"], ["", "🙂"], id="character over two tokens"),
        pytest.param([b"a\xff", b"b"], ["a\ufffd", "b"], id="a byte that begins nothing"),
        pytest.param([b"a\x00b"], ["a\x00b"], id="NUL is text"),
    ],
)
def test_text_is_shown_as_soon_as_it_is_certain(pieces: list[bytes], shown: list[str]) -> None:
    stream = TextStream()
    assert [stream.feed(piece) for piece in pieces] == shown


def test_what_may_become_a_stop_string_waits_until_it_cannot() -> None:
    stream = TextStream(["\nUser:"])
    assert [stream.feed(piece) for piece in (b"Hi", b"\nUs", b"e it")] == ["Hi", "", "\nUse it"]


def test_a_held_beginning_of_a_stop_string_is_shown_at_the_end() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.feed(b"Hi\nUser") == "Hi"
    assert stream.finish() == "\nUser"


def test_half_a_character_is_dropped_where_the_answer_was_cut() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.feed(b"Hi\nUs\xe2\x82") == "Hi"
    assert stream.finish(cut=True) == "\nUs"


def test_a_cut_character_at_the_end_becomes_a_replacement() -> None:
    stream = TextStream()
    assert stream.feed(b"\xe2\x82") == ""
    assert stream.finish() == "\ufffd"
