"""Text as rows of a terminal: what a row holds, and how text is cut into rows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from textual.content import Content, Span

from ondevice.domain.find import found
from ondevice.tui.widgets.cells import row_ends, whole

NARROWEST = 8
"""Columns that text gets at least; what does not fit is cut off by the terminal's edge."""
PIECE = 4000
"""Characters of one line that are wrapped at once: wrapping is not linear in them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row on the screen."""

    content: Content
    prefix: int = 0
    """How many of its first characters are no part of a copy."""
    glue: str | None = None
    """What joins it to the row before, where only the width parts the two; None: a line's end."""
    style: str = ""
    """Of the row's whole width."""

    def looks_like(self, other: Row) -> bool:
        """Whether both are painted the same; contents are equal to Textual if their texts are."""
        return self.style == other.style and self.content.is_same(other.content)


def wrapped(content: Content, width: int) -> Iterator[Row]:
    """Rows of at most `width` columns, broken between words where that is possible."""
    for line in content.split("\n", allow_blank=True):
        line, before = line.expand_tabs().rstrip(), 0
        for start, end in row_ends(line.plain, max(NARROWEST, width)):
            glue = line.plain[before:start] if start else None
            yield Row(line[start:end], glue=glue)
            before = end


def folded(content: Content, width: int) -> Iterator[Row]:
    """Rows of `width` columns with every blank kept, as code needs it."""
    for line in content.split("\n", allow_blank=True):
        line = line.expand_tabs()
        for start, end in row_ends(line.plain, max(NARROWEST, width), words=False):
            yield Row(line[start:end], glue="" if start else None)


def uncut(content: Content) -> Content:
    """The same with styles that end between characters: half of one has another width."""
    text = content.plain
    if text.isascii() or not content.spans:
        return content
    spans = [Span(*whole(text, start, end), style) for start, end, style in content.spans]
    return Content(text, spans)


def prefixed(rows: Iterator[Row], first: Content, rest: Content) -> Iterator[Row]:
    """The same rows behind `first`, and from the second on behind `rest`.

    Copies have them but where a line goes on, and in code.
    """
    for index, row in enumerate(rows):
        prefix = rest if index else first
        left_out = len(prefix) + row.prefix if row.prefix or row.glue is not None else 0
        yield replace(row, content=prefix + row.content, prefix=left_out)


def places(rows: Sequence[Row], query: str) -> list[list[tuple[int, int, int]]]:
    """Where `query` stands, as parts of rows: the row, the first column index and the one after.

    Line breaks of the screen part nothing, and no prefix is searched.
    """
    text, begins = searched(rows)
    return [list(_parts(rows, begins, *place)) for place in found(text, query)]


def searched(rows: Sequence[Row]) -> tuple[str, list[int]]:
    """The text of `rows` without their prefixes, and where in it each of them begins."""
    text, begins = [], []
    length = 0
    for index, row in enumerate(rows):
        glue = "" if not index else "\n" if row.glue is None else row.glue
        begins.append(length + len(glue))
        text.append(glue + row.content.plain[row.prefix :])
        length += len(text[-1])
    return "".join(text), begins


def _parts(
    rows: Sequence[Row], begins: list[int], start: int, end: int
) -> Iterator[tuple[int, int, int]]:
    for y in range(bisect_right(begins, start) - 1, bisect_left(begins, end)):
        prefix, plain = rows[y].prefix, rows[y].content.plain
        first = max(0, start - begins[y]) + prefix
        last = min(len(plain), end - begins[y] + prefix)
        if first < last:
            yield y, first, last


def copied(rows: Sequence[Row], first_x: int, last_x: int | None) -> str:
    """The text of `rows` without the line breaks of the screen.

    From column index `first_x` of the first row up to, without it, `last_x` of the last one; half a
    character is taken whole.
    """
    text = ""
    for index, row in enumerate(rows):
        plain = row.content.plain
        begin = max(row.prefix, first_x if index == 0 else 0)
        last = last_x if index == len(rows) - 1 else None
        begin, end = whole(plain, begin, -1 if last is None else last)
        if index and row.glue is not None:
            text += row.glue + plain[begin:end]
        else:
            text = text.rstrip(" ") + "\n" * (index > 0) + plain[begin:end]
    return text.rstrip(" ")


def pieces(text: str) -> Iterator[str]:
    """`text` by lines, the long ones by `PIECE` characters; one empty piece of an empty text."""
    for line in text.splitlines(keepends=True) or [""]:
        for at in range(0, len(line), PIECE) or [0]:
            yield line[at : at + PIECE]
