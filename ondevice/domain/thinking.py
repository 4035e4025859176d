"""What a model thinks before it answers, apart from its answer."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Thought:
    """The two parts of what a model wrote, without the tags and the white space beside them."""

    thinking: str
    """Empty where the text does not begin with `<think>`."""
    answer: str
    open: bool
    """The thinking has no end: it goes on, or was cut."""


def split(text: str, growing: bool = False) -> Thought:
    """`text` apart: `<think>...</think>` at its start, and the rest.

    While it is `growing`, an end that may become a tag is held back; so both parts are only ever
    appended to as more of the text comes, however it is cut.
    """
    begun = text.lstrip()
    if growing and OPEN.startswith(begun):
        return Thought("", "", open=False)
    if not begun.startswith(OPEN):
        return Thought("", text, open=False)
    inside, mark, answer = begun[len(OPEN) :].partition(CLOSE)
    if not mark and growing:
        inside = _without_half(inside)
    return Thought(inside.strip(), answer.lstrip(), open=not mark)


def _without_half(text: str) -> str:
    """`text` without an end that may begin the closing tag."""
    for length in range(len(CLOSE) - 1, 0, -1):
        if text.endswith(CLOSE[:length]):
            return text[:-length]
    return text
