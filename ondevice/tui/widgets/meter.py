"""The live numbers: a panel where there is room, one line where there is not.

first token    TTFT of this answer; the curve above it is the decode rate of the last seconds,
               from 0 up
context        tokens in use, of n_ctx; ▓ is the system prompt, █ the history, ▒ attached files, ░
               free. While an answer is made the parts are not told apart. What was opened, or is
               counted with a question, has a few more: the template's before the next answer
reused         tokens at the start of the prompt that were kept, so not evaluated again, and the
               seconds that would have taken at the rate this model was read at here
missed         why tokens that had been read before were read again
machine        memory that programs can still get, of all there is
threads        those that decode now, of those to start with; "adapted" while other programs
               take cores, "fixed" by the settings
net avoided    cost avoided where the electricity used here is known, so that it is taken off;
               below zero where running it here cost more
frontier       cost avoided against a frontier model; a small model does not replace one
since start    the same of all answers since the app was started
against        the cloud model that is compared with; another can be chosen
prices of      the day both prices were read
price of       the day the price above was read, where the two differ

`-` means not yet; "unknown" means that it cannot be known.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from ondevice import units
from ondevice.tui.live import Live
from ondevice.tui.widgets import numbers
from ondevice.tui.widgets.numbers import LABEL, NOT_YET, Rows, curve, rows_of

LINE_BAR = 4
LINE = 78
"""Columns of the one line; it must fit a terminal of 80."""


class MeterPanel(Vertical):
    """All live numbers, one below the other; what changes with every token apart from the rest.

    Painting all rows for the few that change took a sixth of what a streaming answer costs.
    """

    BORDER_TITLE = "Live"
    BORDER_SUBTITLE = "F1 explains"

    def compose(self) -> ComposeResult:
        yield Numbers(id="speed")
        yield Numbers(id="means")

    def show(self, live: Live) -> None:
        """Paint what `live` holds now, where it is something else than before."""
        width = max(20, self.content_size.width)
        above, below = rows_of(live, width, self.content_size.height)
        speed, means = self.query(Numbers)
        speed.show(above)
        means.show(below)


class Numbers(Static):
    """Rows of a label and a value."""

    _rows: Rows = []

    def show(self, rows: Rows) -> None:
        """Paint `rows`, if they are others than before."""
        if rows != self._rows:
            more = len(rows) != len(self._rows)
            self._rows = rows
            content = Content("\n").join(_row(label, value) for label, value in rows)
            self.update(content, layout=more)


class MeterLine(Static):
    """The numbers that matter most, in one line of at most `LINE` columns."""

    _text = ""

    def show(self, live: Live) -> None:
        """Paint what `live` holds now, if it is something else than before."""
        text = fit(_line_parts(live), min(LINE, self.content_size.width or LINE))
        if text != self._text:
            self._text = text
            self.update(Content(text), layout=False)


def fit(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The parts side by side in their order; the highest numbers give way first."""
    left = [part for part in parts if part[1]]
    while left and len(text := "  ".join(words for _, words in left)) > width:
        left.remove(max(left))
    return text if left else ""


def _row(label: str, value: str) -> Content:
    return Content.assemble((f"{label:<{LABEL}}", "dim"), value)


def _line_parts(live: Live) -> list[tuple[int, str]]:
    """(how dispensable, words)"""
    if live.reading is not None:
        return [(0, f"reading {numbers.reading_words(live)}")]
    context = f"ctx {numbers.context_bar(live, LINE_BAR)} {numbers.context_words(live)}"
    avoided = units.money(live.avoided(live.price)) if live.price else NOT_YET
    begun = live.delta is not None or live.last is not None
    return [
        (0, numbers.decode(live, "decode unknown") if begun else _yet_to_come(live)),
        (5, curve(live.rates, 6)),
        (3, f"first {numbers.ttft(live)}" if begun else ""),
        (1, context if live.info else ""),
        (4, f"mem {_memory_short(live)}" if live.memory else ""),
        (2, f"avoided {avoided}"),
    ]


def _yet_to_come(live: Live) -> str:
    """What will stand there, before the first answer."""
    return "" if live.spent or not live.info else "tok/s with an answer"


def _memory_short(live: Live) -> str:
    """Private and model pages, the unit once where both have it: `129+92 MB`."""
    memory = live.memory
    if memory is None:
        return NOT_YET
    if memory.private_bytes is None or memory.model_pages_bytes is None:
        return units.size(memory.resident_bytes)
    private, pages = units.size(memory.private_bytes), units.size(memory.model_pages_bytes)
    amount, _, unit = private.partition(" ")
    return f"{amount}+{pages}" if pages.endswith(f" {unit}") else f"{private}+{pages}"
