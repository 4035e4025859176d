"""Code in colours, by lexers that may be slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache

from textual.content import Content
from textual.highlight import highlight

PIECE = 3000
"""Characters that are highlighted at once: some lexers are quadratic in them."""
LONGEST_LINE = 1000
PATIENCE_S = 0.25
TAB = 4

_too_slow: set[str] = set()
"""Languages that are not highlighted any more: their lexer computed `PATIENCE_S` over one piece.

A busy machine makes no lexer slow: its own seconds of the processor count, not the clock's."""


def highlighted(code: str, language: str) -> Content:
    """`code` in the colours of `language`, tabs as blanks. An unknown language has none."""
    pieces = _pieces(code.expandtabs(TAB))
    return Content("\n").join(_highlighted(piece, language) for piece in pieces)


def _pieces(code: str) -> Iterator[str]:
    """Whole lines, `PIECE` characters at most; a longer line stays whole."""
    lines: list[str] = []
    length = 0
    for line in code.split("\n"):
        if lines and length + len(line) >= PIECE:
            yield "\n".join(lines)
            lines, length = [], 0
        lines.append(line)
        length += len(line) + 1
    yield "\n".join(lines)


@lru_cache(maxsize=64)
def _highlighted(code: str, language: str) -> Content:
    if language in _too_slow or max(map(len, code.split("\n"))) > LONGEST_LINE:
        language = "text"
    began = time.thread_time()
    content = highlight(code, language=language)
    if time.thread_time() - began > PATIENCE_S and language != "text":
        _too_slow.add(language)
    return content
