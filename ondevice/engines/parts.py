"""Which part of a prompt each of its tokens belongs to: system, history or attached.

Templates are programs of others, so where a text ends up in a prompt is found by rendering it
again with marks around it: signs of Unicode's private use area that stand nowhere in the chat.
They stand inside the blanks at a text's ends, so that a template that trims does the same as
before; where the marked prompt without its marks is another one, the texts are searched for in
order. A token belongs to the part that its first byte stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ondevice.domain.generation import ChatMessage, Part, PromptTokens
from ondevice.engines.template import ChatTemplate
from ondevice.errors import TemplateFailed

PRIVATE_USE = range(0xE000, 0xF900)
NEAR = 64
"""Bytes within which a token that does not stand where it should is looked for: a tokenizer may
drop blanks."""

Span = tuple[int, Part]
"""(end in characters, part); spans follow each other without a gap."""


def spans(template: ChatTemplate, messages: Sequence[ChatMessage], rendered: str) -> list[Span]:
    """The parts of `rendered` in order; the last one ends where it does."""
    if not any(part != "history" for message in messages for part, _ in message.pieces):
        return [(len(rendered), "history")]
    found = _marked(template, messages, rendered)
    if found is None:
        found = _searched(messages, rendered)
    return _with_scaffold(template, messages, rendered, found)


def count(ids: Sequence[bytes], rendered: str, parts: Sequence[Span]) -> PromptTokens:
    """How many tokens each part has; `ids` are the bytes of each, special ones included."""
    ends: list[tuple[int, Part]] = []
    start = at = 0
    for end, part in parts:
        at += len(rendered[start:end].encode("utf-8", "replace"))
        ends.append((at, part))
        start = end
    made: dict[Part, int] = {"system": 0, "history": 0, "attached": 0}
    waiting = iter(ends)
    end, part = next(waiting)
    for byte in first_bytes(ids, rendered.encode("utf-8", "replace")):
        while byte >= end and (following := next(waiting, None)):
            end, part = following
        made[part] += 1
    return PromptTokens(**made)


def first_bytes(ids: Iterable[bytes], text: bytes) -> Iterator[int]:
    """Where in `text` the first byte of each token stands; never before the one before it.

    A token of no text, such as a begin token that the tokenizer added, stands where the next does.
    """
    at = 0
    for number, piece in enumerate(ids):
        bare = piece if text.startswith(piece, at) else piece.lstrip(b" ")  # a blank it put first
        if not bare or (number == 0 and not text.startswith(bare)):
            yield at
            continue
        found = text.find(bare, at, at + len(bare) + NEAR)
        yield at if found < 0 else found
        at = at if found < 0 else found + len(bare)


def _marked(
    template: ChatTemplate, messages: Sequence[ChatMessage], rendered: str
) -> list[Span] | None:
    """By rendering with marks; None where they changed what the template does."""
    texts = "".join(message.shown for message in messages) + rendered
    free = (sign for code in PRIVATE_USE if (sign := chr(code)) not in texts)
    signs = list(islice(free, 3))
    if len(signs) < 3:
        return None
    beginnings: dict[Part, str] = {"system": signs[0], "attached": signs[1]}
    ending = signs[2]
    marked = [_with_marks(message, beginnings, ending) for message in messages]
    try:
        text, _ = template.render(marked)
    except TemplateFailed:
        return None
    pieces = re.split(f"([{''.join(signs)}])", text)
    if "".join(pieces[::2]) != rendered:
        return None
    meaning: dict[str, Part] = {sign: part for part, sign in beginnings.items()}
    found: list[Span] = []
    at = 0
    part: Part = "history"
    for piece in pieces:
        if piece in signs:
            part = meaning.get(piece, "history")
        else:
            at += len(piece)
            found.append((at, part))
    return found


def _with_marks(message: ChatMessage, beginnings: dict[Part, str], ending: str) -> ChatMessage:
    pieces = []
    for part, text in message.pieces:
        core = text.strip()
        if core and part in beginnings:
            before, after = text.split(core, 1)
            text = f"{before}{beginnings[part]}{core}{ending}{after}"
        pieces.append(text)
    return ChatMessage(message.role, "".join(pieces))


def _searched(messages: Sequence[ChatMessage], rendered: str) -> list[Span]:
    found: list[Span] = []
    at = 0
    for part, text in (piece for message in messages for piece in message.pieces):
        core = text.strip()
        start = rendered.find(core, at)
        if core and start >= 0:
            at = start + len(core)
            found += [(start, "history"), (at, part)]
    return [*found, (len(rendered), "history")]


def _with_scaffold(
    template: ChatTemplate, messages: Sequence[ChatMessage], rendered: str, found: list[Span]
) -> list[Span]:
    """What the template writes around a system message is the system's, too."""
    end = max((end for end, part in found if part == "system"), default=0)
    if not messages or messages[0].role != "system" or not end:
        return found
    try:
        alone = template.render_alone(messages[0])
    except TemplateFailed:
        return found
    if not rendered.startswith(alone):
        return found
    first = next(end for end, part in found if part == "system")
    if first > len(alone):  # the template writes the text elsewhere
        return found
    return [(len(alone), "system"), *(span for span in found if span[0] > len(alone))]
