"""How text fills the cells of a terminal: what stays whole, how wide it is, where a row may end.

cluster   what a reader takes for one character: a letter with its marks, a flag, a family of emoji

Rows were cut by Textual 8.2 between any two code points, and its `fold` drops what stands behind
combining marks: of twenty accented letters it kept four.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import split_graphemes

WIDEST = 6
"""Cells of a cluster: a chain of joined consonants that is longer is parted."""

_BLANK = " \u1680\u2000-\u2006\u2008-\u200b\u205f\u3000"
"""Where lines end; not the spaces that are made to keep words together."""
_WIDE = "\u2e80-\u2fff\u3041-\u30fa\u3100-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
"""Han, Kana and their like, between which lines end. Hangul has blanks."""
_OPEN = "（［｛〈《「『【〔〖“‘"
_SHUT = "、。，．：；！？）］｝〉》」』】〕〗”’…‥・ーゝゞ々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ"
_GAP = re.compile(
    f"[{_BLANK}]+"
    f"|(?<=[{_WIDE}{_SHUT}])(?=[^{_SHUT}{_BLANK}])"
    f"|(?<=[^{_OPEN}{_BLANK}])(?=[{_WIDE}{_OPEN}])(?![{_SHUT}])"
)
_EMOJI = "©®‼⁉\u2100-\u2bff〰〽㊗㊙\U0001f000-\U0001faff"
_LOOSE_JOINER = re.compile(f"(?<![{_EMOJI}\ufe0f])\u200d|\u200d(?![{_EMOJI}])")
"""A joiner that makes no emoji; of one that does, nothing but the first is seen."""
_PLAIN = re.compile(
    "[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2030-\u205e\u20a0-\u20bf─-◼]*"
)
"""A cell each, and no two make one: most text, which is measured at once."""
_VIRAMA = 9
_REGIONAL = range(0x1F1E6, 0x1F200)


@dataclass(frozen=True, slots=True)
class Line:
    """A line, measured. Both sequences begin with 0 and have a member for every cluster's end."""

    edges: Sequence[int]
    """Characters up to there."""
    cells: Sequence[int]
    """Cells up to there."""


def measured(text: str) -> Line:
    """Where the clusters of `text`, a line without tabs, are parted, and how wide they are."""
    if _PLAIN.fullmatch(text):
        return Line(range(len(text) + 1), range(len(text) + 1))
    edges, cells = [0], [0]
    for end, width in _clusters(text):
        edges.append(end)
        cells.append(cells[-1] + width)
    return Line(edges, cells)


def _clusters(text: str) -> list[tuple[int, int]]:
    """The end and the width of each."""
    found: list[tuple[int, int]] = []
    begin = offset = 0
    for run in runs(text):
        for start, stop, cells in split_graphemes(run)[0]:
            at, end = offset + start, offset + stop
            if found and _joined(text, begin, at, cells + found[-1][1]):
                found[-1] = (end, found[-1][1] + cells)
            else:
                begin = at
                found.append((end, cells))
        offset += len(run)
    return found


def _joined(text: str, begin: int, at: int, cells: int) -> bool:
    """Whether what stands at `at` belongs to the cluster from `begin` on; both have `cells`."""
    before, here = text[begin:at], text[at]
    if ord(here) in _REGIONAL:
        return len(before) == 1 and ord(before) in _REGIONAL
    if unicodedata.category(here)[0] == "M" or here == "\u200d":
        return True
    joins = unicodedata.combining(before.removesuffix("\u200d")[-1:] or " ") == _VIRAMA
    return joins and here.isalpha() and cells <= WIDEST


def runs(text: str) -> list[str]:
    """`text` in parts whose widths, as Textual counts them, add up to that of `text`.

    It counts no cell for what follows a joiner, which holds for emoji alone.
    """
    ends = [match.end() for match in _LOOSE_JOINER.finditer(text)]
    return [text[a:b] for a, b in pairwise([0, *ends, len(text)]) if a < b]


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """The part from `start` to `end`, wider where it would cut a cluster; `end` < 0 is the end."""
    end = len(text) if end < 0 else min(end, len(text))
    edges = measured(text).edges
    return edges[bisect_right(edges, start) - 1], edges[bisect_left(edges, end)]


def row_ends(text: str, width: int, words: bool = True) -> Iterator[tuple[int, int]]:
    """Where each row of a line of at most `width` cells begins and ends, in characters.

    With `words` it ends between words where it can; the blanks there belong to no row.
    """
    line = measured(text)
    gaps = _gaps(text, line) if words else []
    ends = [end for end, _ in gaps]
    start = first = 0
    while line.cells[-1] - line.cells[first] > width:
        last = max(first + 1, bisect_right(line.cells, line.cells[first] + width) - 1)
        latest = bisect_right(ends, line.edges[last]) - 1
        end = after = line.edges[last]
        if latest >= 0 and ends[latest] > start:
            end, after = gaps[latest]
        yield start, end
        start, first = after, bisect_left(line.edges, after)
    if start < len(text) or not start:
        yield start, len(text)


def _gaps(text: str, line: Line) -> list[tuple[int, int]]:
    """Where a row may end, and where the next one would begin."""
    edges = line.edges if isinstance(line.edges, range) else set(line.edges)
    found = (match.span() for match in _GAP.finditer(text))
    return [(end, after) for end, after in found if end in edges and after in edges]
