"""Text that grows: Markdown in segments, or plain where Markdown costs too much.

Textual 8.2 lays out the last block anew with every append, and a list or a table is one block: a
list of 25 items took half a second for each write. So finished blocks and list items become
segments that nothing touches again. What that gives up: a link whose address is defined elsewhere.
"""

from __future__ import annotations

import math
import re
import time

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Markdown, Static

from ondevice import units

SHOWN_CHARACTERS = 200_000
"""Of one message; a longer one is kept whole, and shown in part."""
SHARE = 6
"""After a write the next one waits this many times as long as it took."""

_ITEM = re.compile(r"([-*+]|\d{1,9}[.)])[ \t]+\S")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HALF_FENCE = re.compile(r" {0,3}[`~]+[\w+#-]*$")


class Prose(Vertical):
    """Markdown that is only ever appended to."""

    def __init__(self, text: str = "") -> None:
        super().__init__(classes="body")
        self.text = text
        self._waiting = ""
        """The end of `text` that is not shown yet."""
        self._source = ""
        """What the last segment shows."""
        self._last: Markdown | None = None
        self._rest_until = 0.0

    def compose(self) -> ComposeResult:
        parts = segments(self.text)
        yield from self._widgets(parts)

    async def append(self, text: str) -> None:
        """Show more, now or with one of the next appends."""
        self.text += text
        self._waiting += text
        # a fence is shown with its language, or Textual would guess that, for a quarter of a second
        fence_begins = _HALF_FENCE.match(self._waiting.rpartition("\n")[2])
        if time.monotonic() >= self._rest_until and not fence_begins:
            await self.flush()

    async def flush(self) -> None:
        """Show what waits."""
        waiting, self._waiting = self._waiting, ""
        if not waiting:
            return
        began = time.monotonic()
        self._rest_until = math.inf
        await self._show(waiting)
        self.call_after_refresh(self._rest, began)

    async def _show(self, more_text: str) -> None:
        shown = self._source
        first, *more = segments(shown + more_text)
        if self._last is None:
            more = [first, *more]
        elif first.startswith(shown):
            await self._last.append(first[len(shown) :])
        else:  # what was its last line has turned out to begin another segment
            await self._last.update(first)
        if self._last is not None:
            self._last.set_class(bool(more) and not first.endswith("\n\n"), "tight")
        self._source = first
        await self.mount_all(self._widgets(more))

    def _rest(self, began: float) -> None:
        """Leave the core to the model for a while; the layout counts as well as the parsing."""
        now = time.monotonic()
        self._rest_until = now + SHARE * (now - began)

    def _widgets(self, parts: list[str]) -> list[Markdown]:
        widgets = [_markdown(part) for part in parts]
        for part, widget in zip(parts[:-1], widgets[:-1], strict=True):
            widget.set_class(not part.endswith("\n\n"), "tight")
        if widgets:
            self._last, self._source = widgets[-1], parts[-1]
        return widgets


class Plain(Vertical):
    """Text as it is. In pieces, so that appending lays out only the last one."""

    PIECE = 4000

    def __init__(self, text: str) -> None:
        super().__init__(classes="body")
        self._shown = text[:SHOWN_CHARACTERS]
        self._left_out = len(text) - len(self._shown)

    def compose(self) -> ComposeResult:
        yield from self._pieces(0)

    async def append(self, text: str) -> None:
        """Show more, as long as it is not too much."""
        last = max(0, len(self._shown) - 1) // self.PIECE
        room = SHOWN_CHARACTERS - len(self._shown)
        self._shown += text[:room]
        self._left_out += len(text[room:])
        await self.remove_children(self.children[last:])
        await self.mount_all(self._pieces(last * self.PIECE))

    def _pieces(self, start: int) -> list[Static]:
        starts = range(start, len(self._shown), self.PIECE)
        pieces = [Static(Content(self._shown[at : at + self.PIECE])) for at in starts]
        if self._left_out:
            note = f"… and {units.count(self._left_out)} characters that are kept, not shown"
            pieces.append(Static(Content(note), classes="note"))
        return pieces


def segments(text: str) -> list[str]:
    """`text` cut before each top-level list item, and before what follows a blank line."""
    parts = [""]
    fence, blank = "", False
    for line in text.splitlines(keepends=True):
        if fence:
            fence = "" if line.strip() == fence else fence
        else:
            if parts[-1] and line[0] not in " \t\n" and (blank or _is_item(line, parts[-1])):
                parts.append("")
            mark = _FENCE.match(line)
            fence = mark[1] if mark else ""
        parts[-1] += line
        blank = not fence and not line.strip()
    return parts


def _is_item(line: str, before: str) -> bool:
    """Whether `line` begins an item. Inside prose a number does only if it is 1, as in Markdown."""
    item = _ITEM.match(line)
    return bool(item and (not item[1][0].isdigit() or item[1][:-1] == "1" or _ITEM.match(before)))


def too_costly(text: str) -> bool:
    """Whether Markdown would hold up the screen: a cell or an item takes 5 to 20 ms.

    Measured with Textual 8.2: 20,000 cells 43 s, 2,000 lines of code 4 s, a line of 1 MB 2 s.
    """
    if len(text) > 40_000 or text.count("|") > 300 or text.count("\n") > 800:
        return True
    lines = text.splitlines()
    return (
        any(len(line) > 8000 for line in lines)
        or sum(_ITEM.match(line.lstrip()) is not None for line in lines) > 150
    )


def _markdown(text: str) -> Markdown:
    # A link is shown before it is opened: the screen asks.
    return Markdown(text, open_links=False, parser_factory=_parser)


def _parser() -> MarkdownIt:
    """HTML is shown as it stands. An entity could spell what `clean` drops: `&#8238;`."""
    parser = MarkdownIt("gfm-like", {"html": False}).disable("entity")
    parser.core.ruler.push("name_fences", _name_fences)
    return parser


def _name_fences(state: StateCore) -> None:
    """Code of no stated language is text: guessing one takes a quarter of a second a write."""
    for token in state.tokens:
        if token.type == "fence" and not token.info.strip():
            token.info = "text"
