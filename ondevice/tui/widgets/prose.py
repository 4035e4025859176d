"""Text that grows: one widget that keeps its rows, and lays out only the last block again."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import zip_longest

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from ondevice import units
from ondevice.tui.widgets.cells import runs
from ondevice.tui.widgets.rows import Row, copied, pieces, places, searched, uncut, wrapped

SHOWN_CHARACTERS = 200_000
"""Of one message; a longer one is kept whole, and shown in part."""
MARKDOWN_CHARACTERS = 40_000
"""Of a message that is shown as Markdown; a longer one is shown as it stands."""
COSTLY = {"|": 2000, "[": 1000}
"""How many of these Markdown has here at most; the parser is quadratic in brackets."""
ENDLESS = 8000
"""Characters of a paragraph that are laid out again when it grows; what follows is another one."""
FIRST, STEP = 8000, 1000
"""Characters that are laid out at once, at first and then; in between a key is answered."""
SHARE = 16
"""After a write the next one waits this many times as long as it took: a slow processor paints text
seldomer, for an answer that is not later."""
AHEAD = 4
"""Rows taken at once while the text grows: the layout of the screen costs more than the text."""

MARK, HERE = "bold underline", "bold reverse"
"""What was found, and which of it is looked at."""


class Prose(Widget):
    """A message that is only ever appended to."""

    class LinkClicked(Message):
        """A link or an image was clicked; nothing is opened yet."""

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    def __init__(self, text: str = "", markdown: bool = True) -> None:
        super().__init__(classes="body")
        self.text = ""
        self.markdown = markdown
        """Whether the text is shown as Markdown; too much of it is not."""
        self.shown = 0
        """How many of its characters are laid out."""
        self._final = 0
        """Characters whose rows only another width can change."""
        self._gap: Content | None = None
        """The empty row between the final rows and the others, if there is one."""
        self._rows: list[Row] = []
        self._height = 0
        """Rows taken on the screen; while the text grows the last ones may be empty."""
        self._growing = False
        self._final_rows = 0
        self._endless = False
        """The last paragraph is too long to be laid out again."""
        self._width = 0
        self._strips: dict[int, Strip] = {}
        """Painted rows, without a selection."""
        self._styles: dict[str, Style] = {}
        self._rest_until = 0.0
        self._query = ""
        """What is marked wherever it stands."""
        self._places: list[list[tuple[int, int, int]]] | None = None
        """Where that is; None until somebody asks."""
        self._current: int | None = None
        self._take(text)

    # Growing

    def append(self, text: str) -> None:
        """Show more, now or with one of the next appends."""
        self._growing = True
        self._take(text)
        if time.monotonic() >= self._rest_until:
            self.flush()

    def end(self) -> None:
        """Nothing will be appended: show what waits, and take no more rows than it has."""
        self._growing = False
        self.flush()
        self._fit()

    def flush(self) -> None:
        """Show what waits, or as much as a step; the rest follows by itself."""
        if self.shown == len(self.text) or not self._width:
            return
        began = time.monotonic()
        self._rest_until = math.inf
        unchanged = self._final_rows
        self._lay_out()
        if not self._fit():
            self.refresh(Region(0, unchanged, self._width, self._height - unchanged))
        self.call_after_refresh(self._rest, began)

    def _fit(self) -> bool:
        """Take as many rows as are needed; whether that changed anything."""
        empty = self._height - len(self._rows)
        waits = self.shown < len(self.text)  # it will fill them: a reader's place is kept
        if empty >= 0 and (waits or empty < (AHEAD + 1 if self._growing else 1)):
            return False
        self._height = len(self._rows) + (AHEAD - 1 if self._growing else 0)
        self.refresh(layout=True)
        return True

    def _rest(self, began: float) -> None:
        """Leave the core to the model for a while; the layout counts as well as the parsing."""
        now = time.monotonic()
        self._rest_until = now + SHARE * (now - began)
        if self.shown < len(self.text):
            self.flush()

    def _take(self, text: str) -> None:
        self.text += text
        much = len(self.text) > MARKDOWN_CHARACTERS
        if self.markdown and (much or any(self.text.count(c) > n for c, n in COSTLY.items())):
            self.markdown = False
            self._forget()
            self._rest_until = 0.0

    # Layout

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """How many rows it has at `width` columns."""
        if width != self._width:
            self._width = width
            self._forget()
            self._lay_out(FIRST)
            before = self._height if self.shown < len(self.text) else 0
            self._height = max(before, len(self._rows))
            self.call_after_refresh(self.flush)
        return max(1, self._height)

    def _forget(self) -> None:
        self.shown = self._final = self._final_rows = 0
        self._gap, self._endless = None, False
        self._rows, self._strips = [], {}

    def _lay_out(self, step: int = STEP) -> None:
        """Make the rows of what is not final, a step further than before."""
        if self._endless:
            self._final, self._final_rows, self._gap = self.shown, len(self._rows), None
        first, before = self._final_rows, self._rows[self._final_rows :]
        self._places = None
        del self._rows[first:]
        self.shown = min(len(self.text), self.shown + step)
        if self.markdown:
            self._lay_out_markdown(self.text[self._final : self.shown])
        else:
            self._lay_out_lines(self.text[: min(self.shown, SHOWN_CHARACTERS)])
        for y, (old, new) in enumerate(zip_longest(before, self._rows[first:]), first):
            if old is None or new is None or not new.looks_like(old):
                self._strips.pop(y, None)

    def _lay_out_markdown(self, text: str) -> None:
        from ondevice.tui.widgets.markdown import parts  # deferred: 60 ms of the start

        begin, found = self._final, parts(text, self._gap)
        # what an unfinished line begins, it may not begin when it is finished: `-` and `-5 | 3`
        unfinished = len(found) > 1 and "\n" not in text[found[-1].start :]
        for part in found:
            if not (unfinished and part is found[-1]):
                self._final, self._final_rows = begin + part.start, len(self._rows)
                self._gap = part.blocks[0].gap
            for block in part.blocks:
                self._rows += block.rows(self._width)
        last = found[-1].blocks[-1].kind if found else ""
        self._endless = last == "text" and begin + len(text) - self._final > ENDLESS

    def _lay_out_lines(self, text: str) -> None:
        for piece in pieces(text[self._final :]):
            inside = self._final > 0 and text[self._final - 1] != "\n"
            self._final_rows = len(self._rows)
            found = list(wrapped(Content(piece.removesuffix("\n")), self._width))
            if inside:
                found[0] = replace(found[0], glue="")
            self._rows += found
            self._final += len(piece)
        self._final -= len(piece)
        if len(text) == SHOWN_CHARACTERS and (left_out := len(self.text) - len(text)):
            self.shown = len(self.text)
            note = f"… and {units.count(left_out)} characters that are kept, not shown"
            self._rows.append(Row(Content(note).stylize("$foreground-muted")))

    # Painting

    def render_line(self, y: int) -> Strip:
        """Row `y`."""
        if y >= len(self._rows):
            return Strip.blank(self.size.width, self.visual_style.rich_style)
        plain = self._rows[y].content
        content = self._marked(y, plain) if self._query else plain
        selection = self.text_selection
        span = selection.get_span(y) if selection else None
        if span is not None:
            first, last = span
            chosen = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            content = content.stylize(chosen, first, None if last < 0 else last)
        if content is not plain:
            return self._paint(y, content)
        if y not in self._strips:
            self._strips[y] = self._paint(y, plain)
        return self._strips[y]

    def _marked(self, y: int, content: Content) -> Content:
        for number, parts in enumerate(self.places):
            for row, first, last in parts:
                if row == y:
                    content = content.stylize(
                        HERE if number == self._current else MARK, first, last
                    )
        return content

    def _paint(self, y: int, content: Content) -> Strip:
        base = self.visual_style + self._style(self._rows[y].style)
        painted = uncut(content).render(base, end="", parse_style=self._style)
        strip = Strip(
            [Segment(run, style.rich_style) for text, style in painted for run in runs(text)]
        )
        strip = strip.adjust_cell_length(self.size.width, base.rich_style)
        return strip.apply_offsets(0, y)

    def _style(self, style: str | Style) -> Style:
        if isinstance(style, Style):
            return style
        if style not in self._styles:
            self._styles[style] = Style.parse(style, self.app.theme_variables)
        return self._styles[style]

    def notify_style_update(self) -> None:
        """Paint anew, in other colours."""
        super().notify_style_update()
        self._strips, self._styles = {}, {}

    # Finding

    def find(self, query: str, width: int = 0) -> int:
        """Mark `query` wherever it stands, and say how often; nothing is marked for an empty one.

        All of the text is laid out for it, at `width` columns while it has no place on the screen.
        """
        if query and self.shown < len(self.text):
            self.laid_out(self._width or width)
            self._fit()
        if query != self._query:
            self._query, self._current, self._places = query, None, None
            self.refresh()
        return len(self.places)

    def laid_out(self, width: int) -> str:
        """All that can be found in it at `width` columns, also of one that is not on the screen."""
        self._width = width
        while self.shown < len(self.text):
            self._lay_out(FIRST)
        return searched(self._rows)[0]

    def point(self, number: int | None) -> None:
        """Make a place, counted from 0, the one that is looked at."""
        if number != self._current:
            self._current = number
            self.refresh()

    @property
    def places(self) -> list[list[tuple[int, int, int]]]:
        """Where the query stands: for each place its parts of rows, see `rows.places`."""
        if self._places is None:
            self._places = places(self._rows, self._query)
        return self._places

    # Using

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text without the line breaks of the screen, and what ends it."""
        first, last = selection
        top = first.y if first else 0
        chosen = self._rows[top : last.y + 1 if last else None]
        return copied(chosen, first.x if first else 0, last.x if last else None), "\n"

    def action_link(self, href: str) -> None:
        """Tell the screen; it asks."""
        self.post_message(self.LinkClicked(href))
