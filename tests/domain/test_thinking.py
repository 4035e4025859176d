"""What a model thinks and what it answers, told apart while it streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ondevice.domain.thinking import (
    USUAL,
    Split,
    ThinkingStream,
    ThinkingStyle,
    for_history,
    split,
    style_of,
)

BEGUN = ThinkingStyle(begun_by_prompt=True)
OTHER = ThinkingStyle("[THINK]", "[/THINK]")


@pytest.mark.parametrize(
    ("text", "style", "expected"),
    [
        pytest.param("hello", USUAL, Split("", "hello", True), id="no thinking"),
        pytest.param(
            "<think>\nhm\n</think>\n\nhello", USUAL, Split("hm\n", "hello", True), id="both"
        ),
        pytest.param(
            "\n <think>hm</think>hi", USUAL, Split("hm", "hi", True), id="blanks in front"
        ),
        pytest.param("<think>hm</thin", USUAL, Split("hm</thin", "", False), id="cut off"),
        pytest.param("<thi", USUAL, Split("", "<thi", True), id="the beginning of a tag"),
        pytest.param(
            "see <think>x</think>", USUAL, Split("", "see <think>x</think>", True), id="later on"
        ),
        pytest.param(
            "<think></think>\n\nhi <think>x</think>",
            USUAL,
            Split("", "hi <think>x</think>", True),
            id="only the first",
        ),
        pytest.param("hm</think>\nhi", BEGUN, Split("hm", "hi", True), id="begun by the prompt"),
        pytest.param("<think>hm</think>hi", BEGUN, Split("hm", "hi", True), id="begun by both"),
        pytest.param("hm", BEGUN, Split("hm", "", False), id="begun and cut off"),
        pytest.param("[THINK]hm[/THINK]hi", OTHER, Split("hm", "hi", True), id="other tags"),
        pytest.param("", USUAL, Split("", "", True), id="nothing"),
    ],
)
def test_an_answer_has_two_parts(text: str, style: ThinkingStyle, expected: Split) -> None:
    assert split(text, style) == expected


STYLES = st.sampled_from([USUAL, BEGUN, OTHER])
TEXT = st.lists(st.sampled_from(["<think>", "</think>", "<thi", "nk>", "\n", " ", "hm", "["]))


@given(TEXT.map("".join), STYLES, st.lists(st.integers(0, 60)))
@example("<think>\n\nhm</think>\n\nhi", USUAL, list(range(30)))
def test_how_the_text_comes_does_not_matter(text: str, style: ThinkingStyle, at: list[int]) -> None:
    cuts = sorted({0, len(text), *(min(each, len(text)) for each in at)})
    stream = ThinkingStream(style)
    pieces = [stream.feed(text[a:b]) for a, b in pairwise(cuts)] + [stream.feed("", last=True)]
    thinking, answer = ("".join(part) for part in zip(*pieces, strict=True))
    assert Split(thinking, answer, not stream.thinking) == split(text, style)


@given(TEXT.map("".join), STYLES)
def test_nothing_but_tags_and_blanks_at_their_sides_is_left_out(
    text: str, style: ThinkingStyle
) -> None:
    def signs(some: str) -> int:
        return len("".join(some.split()))

    found = split(text, style)
    tags = 0
    if text.lstrip().startswith(style.opening):
        tags += len(style.opening)
    if found.closed and (tags or style.begun_by_prompt):
        tags += len(style.closing)
    assert signs(found.thinking) + signs(found.answer) + tags == signs(text)


@given(TEXT.map("".join), STYLES)
def test_while_it_streams_what_was_shown_stays(text: str, style: ThinkingStyle) -> None:
    stream = ThinkingStream(style)
    thinking = answer = ""
    for sign in text:
        more_thinking, more_answer = stream.feed(sign)
        thinking, answer = thinking + more_thinking, answer + more_answer
        assert not (more_thinking and more_answer) or stream.thinking is False
    whole = split(text, style)
    assert whole.thinking.startswith(thinking)
    assert whole.answer.startswith(answer)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        pytest.param(USUAL, "hi", id="the answer alone"),
        pytest.param(
            ThinkingStyle(stripped_by_template=True),
            "<think>hm</think>\nhi",
            id="all of it where the template strips it",
        ),
    ],
)
def test_what_goes_back_into_the_history(style: ThinkingStyle, expected: str) -> None:
    assert for_history("<think>hm</think>\nhi", style) == expected


@pytest.mark.parametrize("style", [USUAL, BEGUN, OTHER], ids=["usual", "begun", "other tags"])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("Paris is it.", "Paris is it.", id="one that does not think"),
        pytest.param('{"city": "Paris"}', '{"city": "Paris"}', id="one under a schema"),
        pytest.param("[THINK]hm[/THINK]Paris", "Paris", id="one with other tags"),
        pytest.param("hm\n</think>\n\nParis", "Paris", id="one whose prompt began it"),
    ],
)
def test_the_answer_of_another_model_goes_back_without_its_thinking(
    text: str, answer: str, style: ThinkingStyle
) -> None:
    assert for_history(text, style) == answer


def test_a_template_strips_its_own_tags_and_no_others() -> None:
    style = ThinkingStyle(stripped_by_template=True)
    assert for_history("hm\n</think>\n\nParis", style) == "hm\n</think>\n\nParis"
    assert for_history("[THINK]hm[/THINK]Paris", style) == "Paris"


@pytest.mark.parametrize("style", [USUAL, BEGUN, OTHER], ids=["usual", "begun", "other tags"])
def test_under_a_schema_an_answer_begins_at_once(style: ThinkingStyle) -> None:
    assert style.under(None) == style
    assert split('{"city": "Paris"}', style.under("{}")).answer == '{"city": "Paris"}'


STORED = {
    "<think>a</think>b": Split("a", "b", closed=True),
    "[THINK]a[/THINK]b": Split("a", "b", closed=True),
    "a\n</think>\n\nb": Split("a\n", "b", closed=True),
    "the tag </think> ends it": Split("", "the tag </think> ends it", closed=True),
    "b": Split("", "b", closed=True),
}


@pytest.mark.parametrize("text", STORED)
def test_a_stored_answer_tells_how_it_is_marked(text: str) -> None:
    assert split(text, style_of(text)) == STORED[text]
