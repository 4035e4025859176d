"""The live numbers: a panel where there is room, one line where there is not.

first token    TTFT of this answer; the curve above it is the decode rate of the last seconds,
               from 0 up
reused         tokens at the start of the prompt that were kept, so not evaluated again
machine        memory that programs can still get, of all there is
threads        those that decode now, of those to start with; "adapted" while other programs
               take cores, "fixed" by the settings
frontier       cost avoided against a frontier model; a small model does not replace one
since start    cost avoided by all answers since the app was started
against        the cloud model that is compared with; another can be chosen
price of       the day that model's price was read

`-` means not yet; "unknown" means that it cannot be known.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from ondevice import units
from ondevice.domain import metrics
from ondevice.domain.cost import Price
from ondevice.domain.text import clean_line
from ondevice.tui.live import Live

NOT_YET = "-"
BARS = "▁▂▃▄▅▆▇█"
LABEL = 14
LINE = 78
"""Columns of the one line; it must fit a terminal of 80."""

Rows = list[tuple[str, str]]
SPACE = ("", "")


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
        above = [*_speed_rows(live, width), *_context_rows(live, width)]
        below = [*_memory_rows(live), *_thread_rows(live), *_cost_rows(live)]
        if len(above) + len(below) > self.content_size.height:  # 23 lines hold the rest
            below = [row for row in below if row != SPACE]
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


def curve(rates: Sequence[float], width: int) -> str:
    """The newest `width` rates as bars; the scale begins at 0, so small dips look small."""
    newest = list(rates)[-width:]
    top = max(newest, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[min(7, int(8 * rate / top))] for rate in newest)


def bar(part: int, whole: int, width: int) -> str:
    """A filled bar; anything at all fills one cell."""
    filled = 0 if whole <= 0 else min(width, max(part > 0, round(width * part / whole)))
    return "█" * filled + "░" * (width - filled)


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
        return [(0, f"reading {_reading_words(live)}")]
    used, total = _context(live)
    context = f"ctx {units.short_count(used)}/{_total(total)}"
    saved = units.money(live.avoided(live.price)) if live.price else NOT_YET
    begun = live.delta is not None or live.last is not None
    return [
        (0, _decode(live, "decode unknown") if begun else ""),
        (5, curve(live.rates, 6)),
        (3, f"first {_ttft(live)}" if begun else ""),
        (1, context if live.info else ""),
        (6, bar(used, total, 4) if live.info else ""),
        (4, f"mem {_memory_short(live)}" if live.memory else ""),
        (2, f"saved {saved}"),
    ]


def _speed_rows(live: Live, width: int) -> Rows:
    rows = [("decode", _decode(live)), ("", curve(live.rates, width - LABEL))]
    rows.append(("first token", _ttft(live)))
    if live.reading is not None:
        return [*rows, ("reading", _reading_words(live))]
    rate = live.last.done.prefill_tok_per_s if live.last else _prefill_rate(live)
    begun = live.last is not None or live.prefill is not None
    return [*rows, ("prefill", units.rate(rate) if begun else NOT_YET)]


def _context_rows(live: Live, width: int) -> Rows:
    used, total = _context(live)
    numbers = f"{units.short_count(used)}/{_total(total)}"
    room = max(3, width - LABEL - len(numbers) - 1)
    reused = live.prefill.cached_tokens if live.prefill else None
    return [
        ("context", f"{bar(used, total, room)} {numbers}"),
        ("reused", f"{units.count(reused)} tok" if reused is not None else NOT_YET),
    ]


def _memory_rows(live: Live) -> Rows:
    memory, machine = live.memory, live.machine
    private = units.size(memory.private_bytes) if memory else NOT_YET
    pages = units.size(memory.model_pages_bytes) if memory else NOT_YET
    rows = [("private", private), ("model pages", pages)]
    if machine is None:
        return [*rows, ("machine", NOT_YET)]
    free, total = units.size(machine.available_bytes), units.size(machine.total_bytes)
    return [*rows, ("machine", f"{free} of {total} free")]


def _thread_rows(live: Live) -> Rows:
    if live.info is None:
        return [("threads", NOT_YET)]
    now = live.threads or live.info.threads
    how = "fixed" if live.info.threads_fixed else ("adapted" if now != live.info.threads else "")
    return [("threads", f"{now} of {live.info.threads} {how}".rstrip())]


def _cost_rows(live: Live) -> Rows:
    if live.price is None:
        return [("avoided", NOT_YET)]
    rows = _price_rows("avoided", live, live.price)
    if live.frontier is not None and live.frontier.baseline != live.price.baseline:
        rows += [SPACE, *_price_rows("frontier", live, live.frontier)]
    return [*rows, SPACE, ("counted by the local tokenizer", "")]


def _price_rows(label: str, live: Live, price: Price) -> Rows:
    """Of the last answer, and of all since the start."""
    last = live.last.cost_at(price) if live.last else None
    return [
        (label, units.money(last.usd) if last else NOT_YET),
        ("  since start", units.money(live.avoided(price))),
        ("  against", clean_line(price.title, 20)),
        ("  price of", price.price_date.isoformat()),
    ]


def _decode(live: Live, unknown: str = units.UNKNOWN) -> str:
    if live.last is None and live.delta is None:
        return NOT_YET
    if live.last is not None:
        rate = live.last.done.decode_tok_per_s
    elif live.delta is not None:
        rate = metrics.decode_tok_per_s(live.delta.completion_tokens, live.delta.decode_s)
    return unknown if rate is None else units.rate(rate)


def _ttft(live: Live) -> str:
    if live.last is not None:
        return units.duration(live.last.done.timings.ttft_s)
    return units.duration(live.delta.ttft_s) if live.delta else NOT_YET


def _prefill_rate(live: Live) -> float | None:
    progress = live.prefill
    if progress is None:
        return None
    return metrics.prefill_tok_per_s(progress.done_tokens, progress.elapsed_s)


def _reading_words(live: Live) -> str:
    progress = live.reading
    assert progress is not None
    done = f"{units.short_count(progress.done_tokens)}/{units.short_count(progress.total_tokens)}"
    return done + (f", {units.duration(progress.eta_s)} left" if progress.eta_s else "")


def _context(live: Live) -> tuple[int, int]:
    total = live.info.n_ctx if live.info else 0
    if live.last is not None:
        usage = live.last.done.usage
        return usage.prompt_tokens + usage.completion_tokens, total
    if live.delta is not None:
        return live.delta.context_tokens, total
    if live.prefill is not None:
        return live.prefill.cached_tokens + live.prefill.done_tokens, total
    return 0, total


def _total(total: int) -> str:
    return units.short_count(total) if total else NOT_YET


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
