"""Markdown as rows: parsed by markdown-it, highlighted and wrapped by Textual, laid out here.

Textual's own Markdown makes three to six widgets of a block and lays out all of them with every
write: a quarter of a core at 100 tok/s, see docs/results.md. Rows cost a tenth of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from textual.content import Content, Span
from textual.highlight import highlight
from textual.style import Style

from ondevice.tui.widgets import table
from ondevice.tui.widgets.rows import NARROWEST, Row, folded, prefixed, wrapped

EMPTY = Content("")
INLINE = {
    "em": "italic",
    "strong": "bold",
    "s": "strike",
    "code_inline": "$text-warning on $panel",
    "link": "underline $text-primary",
    "image": "underline $text-primary",
}
HEADING = "bold $text-primary"
CODE = "on $surface"
QUIET = "$foreground-muted"
LISTS = ("bullet_list", "ordered_list")
FLOWING = ("paragraph", "heading", *LISTS)
"""Blocks that need no empty row between them where the source has none."""
BULLETS = "•◦▪"
HIGHLIGHTED = 30_000
"""Characters of code that are highlighted; more costs a tenth of a second a write."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading, code, table or rule, with the marks of the lists and quotes around."""

    kind: str
    content: Content
    first: Content = EMPTY
    """Before its first row."""
    rest: Content = EMPTY
    """Before its other rows."""
    gap: Content | None = None
    """The row that stands before it: empty, but for the bars of quotes."""
    cells: table.Cells = ()

    def rows(self, width: int) -> Iterator[Row]:
        """Its rows; none is wider than `width` columns, where that leaves `NARROWEST` for text."""
        if self.gap is not None:
            yield Row(self.gap)
        inner = max(NARROWEST, width - self.rest.cell_length)
        yield from prefixed(self._body(inner), self.first, self.rest)

    def _body(self, width: int) -> Iterator[Row]:
        match self.kind:
            case "code":
                for row in folded(self.content, width - 2):
                    yield replace(row, content=Content(" ") + row.content, prefix=1, style=CODE)
            case "rule":
                yield Row(Content("─" * width).stylize(QUIET))
            case "table":
                yield from table.rows(self.cells, width, QUIET)
            case _:
                yield from wrapped(self.content, width)


@dataclass(frozen=True, slots=True)
class Part:
    """A block or list item of the outermost level."""

    start: int
    """Its first character."""
    blocks: tuple[Block, ...]


def parts(text: str, gap: Content | None = None) -> list[Part]:
    """`text` by its outermost blocks and items; more text can only change the last one.

    `gap`: the row before the first.
    """
    source = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in source)]
    found: list[Part] = []
    before = ""
    for node in SyntaxTreeNode(_parser().parse(text)).children:
        for inner in node.children if node.type in LISTS else [node]:
            begins = inner.map[0] if inner.map else 0
            if found:
                gap = EMPTY if _parted(source, begins, before, node.type) else None
            found.append(Part(starts[begins], tuple(_blocks(inner, source, _Marks(gap=gap)))))
            before = node.type
    return found


def warm_up() -> None:
    """Do now what is only slow the first time: imports, and the expressions of a lexer."""
    parts("```python\npass\n```")


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands before a block, and before the first of them."""

    first: Content = EMPTY
    rest: Content = EMPTY
    gap: Content | None = None
    depth: int = 0
    """Of bullets."""


def _blocks(node: SyntaxTreeNode, source: list[str], marks: _Marks) -> Iterator[Block]:
    first, rest, gap = marks.first, marks.rest, marks.gap
    match node.type:
        case "paragraph" | "heading":
            content = _inline(node.children[0])
            if node.type == "heading":
                style = HEADING + (" underline" if node.tag in ("h1", "h2") else "")
                content = content.stylize_before(style)
            yield Block("text", content, first, rest, gap)
        case "fence" | "code_block":
            yield Block("code", _code(node), first, rest, gap)
        case "hr":
            yield Block("rule", EMPTY, first, rest, gap)
        case "table":
            lines = [row for part in node.children for row in part.children]
            cells = tuple(tuple(_inline(cell.children[0]) for cell in row.children)
                          for row in lines)  # fmt: skip
            yield Block("table", EMPTY, first, rest, gap, cells)
        case "blockquote":
            bar = Content("▌ ").stylize(QUIET)
            yield from _inside(node, source, replace(marks, first=first + bar, rest=rest + bar))
        case "list_item":
            bullet = f"{node.info}{node.markup}" if node.info else BULLETS[marks.depth % 3]
            mark = Content(f"{bullet} ").stylize("$text-accent")
            pad = Content(" " * mark.cell_length)
            deeper = replace(
                marks, first=first + mark, rest=rest + pad, depth=marks.depth + (not node.info)
            )
            yield from _inside(node, source, deeper)
        case _:  # a list
            yield from _inside(node, source, marks)


def _inside(node: SyntaxTreeNode, source: list[str], marks: _Marks) -> Iterator[Block]:
    """The blocks within `node`; only the first stands behind the mark."""
    if not node.children:
        yield Block("text", EMPTY, marks.first, marks.rest, marks.gap)
    before = ""
    for index, inner in enumerate(node.children):
        if index:
            begins = inner.map[0] if inner.map else 0
            parted = _parted(source, begins, before, inner.type)
            marks = replace(marks, first=marks.rest, gap=marks.rest.rstrip() if parted else None)
        yield from _blocks(inner, source, marks)
        before = inner.type


def _parted(source: list[str], begins: int, before: str, kind: str) -> bool:
    """Whether an empty row parts two blocks: where the source has one, and around code."""
    blank = begins > 0 and not source[begins - 1].strip(" \t>")
    flowing = all(one in FLOWING or one == "list_item" for one in (before, kind))
    return blank or not flowing


def _inline(node: SyntaxTreeNode) -> Content:
    """The styled text of an `inline` node; what is clicked calls the widget's `link` action."""
    pieces: list[str] = []
    spans: list[Span] = []

    def walk(inner: SyntaxTreeNode) -> None:
        start = sum(map(len, pieces))
        if inner.type in ("softbreak", "hardbreak"):
            pieces.append("\n" if inner.type == "hardbreak" else " ")
        elif inner.type == "image":
            pieces.append(f"[image: {inner.content}]" if inner.content else "[image]")
        elif not inner.children:
            text = inner.content
            pieces.append(text if inner.type == "code_inline" else re.sub(r"\s+", " ", text))
        else:
            for child in inner.children:
                walk(child)
        end = sum(map(len, pieces))
        if inner.type in INLINE:
            spans.append(Span(start, end, INLINE[inner.type]))
        if target := inner.attrs.get("href") or inner.attrs.get("src"):
            spans.append(Span(start, end, Style.from_meta({"@click": f"link({str(target)!r})"})))

    walk(node)
    return Content("".join(pieces), spans)


def _code(node: SyntaxTreeNode) -> Content:
    """Highlighted by its stated language: guessing one takes a quarter of a second."""
    code = node.content.rstrip("\n")
    language = (node.info.split() or ["text"])[0]
    return highlight(code, language=language if len(code) <= HIGHLIGHTED else "text")


@cache
def _parser() -> MarkdownIt:
    """HTML is shown as it stands. An entity could spell what `clean` drops: `&#8238;`."""
    return MarkdownIt("gfm-like", {"html": False}).disable("entity")
