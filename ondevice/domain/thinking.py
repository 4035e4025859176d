"""What a model thinks before it answers, told apart from the answer.

Such models write `<think>...</think>` at the beginning of an answer. Some templates write the
opening tag themselves, at the end of the prompt; some take the thinking of earlier answers out of
the history themselves, and then want the whole message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

USUAL_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
)


@dataclass(frozen=True, slots=True)
class ThinkingStyle:
    """How one model marks its thinking."""

    opening: str = "<think>"
    closing: str = "</think>"
    begun_by_prompt: bool = False
    """The prompt ends with the opening tag, so an answer begins with thinking."""
    stripped_by_template: bool = False
    """The template leaves the thinking of earlier answers out by itself."""

    def under(self, schema: str | None) -> ThinkingStyle:
        """That of an answer which a schema, if there is one, holds from its first token on."""
        return replace(self, begun_by_prompt=False) if schema is not None else self


USUAL = ThinkingStyle()


@dataclass(frozen=True, slots=True)
class Split:
    """An answer in its two parts; the tags belong to neither."""

    thinking: str
    answer: str
    closed: bool
    """Whether the thinking has ended; True where there was none."""


class ThinkingStream:
    """Splits an answer while it comes.

    Text that may be the beginning of a tag waits until it is one or cannot be one.
    """

    def __init__(self, style: ThinkingStyle = USUAL) -> None:
        self._style = style
        self._state: Literal["before", "opened", "thinking", "closed", "answer"] = "before"
        self._held = ""

    @property
    def thinking(self) -> bool:
        """Whether what comes next is, as far as is known, thinking."""
        begun = self._state == "before" and self._style.begun_by_prompt
        return begun or self._state in ("opened", "thinking")

    def feed(self, text: str, last: bool = False) -> tuple[str, str]:
        """More thinking and more answer that are certain now; after the `last` nothing waits."""
        self._held += text
        thinking = answer = ""
        if self._state == "before":
            self._look_for_opening(last)
        if self._state == "opened" and self._skip_lines():
            self._state = "thinking"
        if self._state == "thinking":
            thinking = self._until_closing(last)
        if self._state == "closed" and self._skip_lines():
            self._state = "answer"
        if self._state == "answer":
            answer, self._held = self._held, ""
        return thinking, answer

    def _look_for_opening(self, last: bool) -> None:
        opening, begun = self._style.opening, self._style.begun_by_prompt
        shown = self._held.lstrip()
        if shown.startswith(opening):
            self._held, self._state = shown[len(opening) :], "opened"
        elif not opening.startswith(shown) or last:
            self._state = "thinking" if begun else "answer"

    def _skip_lines(self) -> bool:
        """Leave out line breaks beside a tag; whether something else follows them."""
        self._held = self._held.lstrip("\n")
        return bool(self._held)

    def _until_closing(self, last: bool) -> str:
        thinking, closing, rest = self._held.partition(self._style.closing)
        if closing:
            self._held, self._state = rest, "closed"
            return thinking
        keep = 0 if last else _beginning_at_end(thinking, self._style.closing)
        self._held = thinking[len(thinking) - keep :]
        return thinking[: len(thinking) - keep]


def split(text: str, style: ThinkingStyle = USUAL) -> Split:
    """A whole answer, or half of one, in its two parts."""
    stream = ThinkingStream(style)
    thinking, answer = stream.feed(text, last=True)
    return Split(thinking, answer, closed=not stream.thinking)


def style_of(text: str) -> ThinkingStyle:
    """How a stored answer is marked, by what it says: its model may not be here any more.

    A closing tag counts without an opening one only if it has a line of its own.
    """
    begun = text.lstrip()
    for opening, closing in USUAL_TAGS:
        if begun.startswith(opening):
            return ThinkingStyle(opening, closing)
    for opening, closing in USUAL_TAGS:
        if closing in text and closing in (line.strip() for line in text.split("\n")):
            return ThinkingStyle(opening, closing, begun_by_prompt=True)
    return USUAL


def for_history(text: str, style: ThinkingStyle) -> str:
    """What a later prompt is given of a stored answer, whichever model made it.

    All of it where the template, whose `style` it is, strips such tags itself, the answer alone
    otherwise. How its own prompt ended is not known any more, so only what it says counts.
    """
    own = style_of(text)
    stripped = style.stripped_by_template and style.closing == own.closing
    return text if stripped else split(text, own).answer


def _beginning_at_end(text: str, tag: str) -> int:
    """Length of the longest end of `text` that begins `tag`."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
