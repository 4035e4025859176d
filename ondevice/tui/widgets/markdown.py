"""Markdown as rows: parsed by markdown-it, highlighted and wrapped by Textual, laid out here.

Textual's own Markdown makes three to six widgets of a block and lays out all of them with every
write. At 100 tok/s the app then took 24 to 31 % of a core, with rows it takes 9 to 10 %: see
docs/results.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from textual.content import Content, Span
from textual.style import Style

from ondevice.domain.text import clean
from ondevice.tui.widgets import table
from ondevice.tui.widgets.code import highlighted
from ondevice.tui.widgets.rows import NARROWEST, Row, folded, prefixed, wrapped

EMPTY = Content("")
INLINE = {
    "em": "italic",
    "strong": "bold",
    "s": "strike",
    "code": "$text-warning on $panel",
    "a": "underline $text-primary",
    "img": "underline $text-primary",
}
"""By HTML tag."""
HEADING = "bold $text-primary"
CODE = "on $surface"
QUIET = "$foreground-muted"
LISTS = ("bullet_list", "ordered_list")
FLOWING = ("paragraph", "heading", *LISTS)
"""Blocks that need no empty row between them where the source has none."""
BULLETS = "•◦▪"
DEEPEST = 40
"""Levels of blocks in blocks; at more the parser would skip the rest of the text."""
INLINE_TOKENS = "inline tokens"


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
    tokens = _parser().parse(text)
    if max((token.level for token in tokens), default=0) > DEEPEST - 2:
        return [Part(0, (Block("text", Content(text), gap=gap),))]
    for node in _tree(tokens).children:
        for inner in node.children if node.type in LISTS else [node]:
            begins = inner.map[0] if inner.map else 0
            if found:
                gap = EMPTY if _parted(source, begins, before, node.type) else None
            found.append(Part(starts[begins], tuple(_blocks(inner, source, _Marks(gap=gap)))))
            before = node.type
    return found


def _tree(tokens: list[Token]) -> SyntaxTreeNode:
    """The blocks as a tree; what is inside of lines may nest too deep for one."""
    for token in tokens:
        if token.type == "inline":
            token.meta[INLINE_TOKENS], token.children = token.children or [], None
    return SyntaxTreeNode(tokens)


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
    text, spans = _Text(), []
    opened: list[tuple[int, list[str | Style]]] = []
    for token in node.meta[INLINE_TOKENS]:
        styles: list[str | Style] = [INLINE[token.tag]] if token.tag in INLINE else []
        if target := token.attrs.get("href") or token.attrs.get("src"):
            styles.append(Style.from_meta({"@click": f"link({str(target)!r})"}))
        if token.nesting == 1:
            opened.append((text.length, styles))
            continue
        start, styles = opened.pop() if token.nesting == -1 else (text.length, styles)
        if token.nesting == 0:
            text.add(_said(token))
        spans += [Span(start, text.length, style) for style in styles]
    return Content("".join(text.pieces), spans)


class _Text:
    """Pieces with their length, which a sum for every piece would make quadratic."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)


def _said(token: Token) -> str:
    """Cleaned again: the parser decodes `%1b` where it shows an address."""
    match token.type:
        case "hardbreak":
            return "\n"
        case "softbreak":
            return " "
        case "image":
            return f"[image: {clean(token.content)}]" if token.content else "[image]"
        case "code_inline":
            return clean(token.content)
    return clean(re.sub(r"\s+", " ", token.content))


def _code(node: SyntaxTreeNode) -> Content:
    """Highlighted by its stated language: guessing one takes a quarter of a second."""
    return highlighted(node.content.rstrip("\n"), (node.info.split() or ["text"])[0].lower())


def code_blocks(text: str) -> list[str]:
    """The code in `text` as it was written, without the marks around it."""
    tokens = _parser().parse(text)
    return [clean(each.content) for each in tokens if each.type in ("fence", "code_block")]


@cache
def _parser() -> MarkdownIt:
    """HTML is shown as it stands. An entity could spell what `clean` drops: `&#8238;`.

    A definition of a reference shows nothing, and `[Answer]: 42` would be one.
    """
    parser = MarkdownIt("gfm-like", {"html": False, "maxNesting": DEEPEST})
    return parser.disable(["entity", "reference"])
