"""A table in rows: columns as wide as they need, the widest giving way first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from textual.content import Content

from ondevice.tui.widgets.rows import NARROWEST, Row, wrapped

Cells = tuple[tuple[Content, ...], ...]
"""Row by row; the first is the header."""

BETWEEN = " │ "


def rows(cells: Cells, width: int, quiet: str) -> Iterator[Row]:
    """The rows of a table of at most `width` columns; `quiet` styles its lines.

    One with too many columns for that is told cell after cell.
    """
    columns = max(map(len, cells), default=0)
    room = width - len(BETWEEN) * (columns - 1)
    if columns == 0 or room < min(NARROWEST * columns, _needed(cells, columns)):
        for line in cells:
            yield from wrapped(Content(BETWEEN).join(line), width)
        return
    widths = _fit([_widest(cells, column) for column in range(columns)], room)
    for index, line in enumerate(cells):
        for parts in zip_longest(*(_cell(cell, w) for cell, w in zip(line, widths, strict=False))):
            texts = zip_longest((part or Content("") for part in parts), widths)
            padded = [_padded(text or Content(""), w) for text, w in texts]
            row = Content.assemble(*_joined(padded, quiet))
            yield Row(row.stylize_before("bold") if index == 0 else row)
        if index == 0:
            yield Row(Content("─┼─".join("─" * w for w in widths)).stylize(quiet))


def _joined(cells: list[Content], quiet: str) -> Iterator[Content]:
    for index, cell in enumerate(cells):
        if index:
            yield Content(BETWEEN).stylize(quiet)
        yield cell


def _cell(cell: Content, width: int) -> list[Content]:
    if cell.cell_length <= width:
        return [cell]
    return [row.content for row in wrapped(cell, width)]


def _padded(text: Content, width: int) -> Content:
    return text.pad_right(max(0, width - text.cell_length))


def _widest(cells: Cells, column: int) -> int:
    return max((line[column].cell_length for line in cells if column < len(line)), default=0)


def _needed(cells: Cells, columns: int) -> int:
    return sum(_widest(cells, column) for column in range(columns))


def _fit(widths: list[int], room: int) -> list[int]:
    """The widths, none above the largest limit at which all fit into `room`."""
    limit = max(widths, default=0)
    while limit > NARROWEST and sum(min(width, limit) for width in widths) > room:
        limit -= 1
    return [max(1, min(width, limit)) for width in widths]
