"""The live numbers: a panel where there is room, one line where there is not."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from ondevice import units
from ondevice.domain import metrics
from ondevice.domain.cost import Price
from ondevice.tui.live import Live

BARS = "▁▂▃▄▅▆▇█"
LABEL = 14


class MeterPanel(Static):
    """All live numbers, one below the other."""

    BORDER_TITLE = "Live"

    def show(self, live: Live, price: Price | None) -> None:
        """Paint what `live` holds now."""
        width = max(20, self.content_size.width)
        rows = [*_speed_rows(live, width), *_context_rows(live, width), *_memory_rows(live)]
        rows += [*_thread_rows(live), *_cost_rows(live, price)]
        self.update(Content("\n").join(_row(label, value) for label, value in rows))


class MeterLine(Static):
    """The numbers that matter most, in one line of at most 78 columns."""

    def show(self, live: Live) -> None:
        """Paint what `live` holds now."""
        if live.prefill is not None and live.delta is None and live.last is None:
            self.update(Content(_prefill_words(live)))
            return
        used, total = _context(live)
        parts = [
            _decode(live),
            curve(live.rates, 6),
            f"first {_ttft(live)}",
            f"ctx {bar(used, total, 4)} {units.short_count(used)}/{_total(total)}",
            f"mem {_memory_short(live)}",
            f"saved {units.money(live.session_usd)}",
        ]
        self.update(Content(" · ".join(part for part in parts if part)))


def curve(rates: Sequence[float], width: int) -> str:
    """The newest `width` rates as bars; the scale begins at 0, so small dips look small."""
    newest = list(rates)[-width:]
    top = max(newest, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[min(7, int(8 * rate / top))] for rate in newest)


def bar(part: int, whole: int, width: int) -> str:
    """A filled bar."""
    filled = 0 if whole <= 0 else min(width, round(width * part / whole))
    return "█" * filled + "░" * (width - filled)


def _row(label: str, value: str) -> Content:
    return Content.assemble((f"{label:<{LABEL}}", "dim"), value)


def _speed_rows(live: Live, width: int) -> list[tuple[str, str]]:
    rows = [("decode", _decode(live)), ("", curve(live.rates, width - LABEL))]
    rows.append(("first token", _ttft(live)))
    if live.prefill is not None and live.delta is None and live.last is None:
        rows.append(("reading", _prefill_words(live)))
    else:
        rate = live.last.done.prefill_tok_per_s if live.last else _prefill_rate(live)
        rows.append(("prefill", units.rate(rate)))
    return rows


def _context_rows(live: Live, width: int) -> list[tuple[str, str]]:
    used, total = _context(live)
    numbers = f"{units.short_count(used)}/{_total(total)}"
    room = max(3, width - LABEL - len(numbers) - 1)
    reused = live.prefill.cached_tokens if live.prefill else None
    return [
        ("context", f"{bar(used, total, room)} {numbers}"),
        ("reused", f"{units.count(reused)} tok" if reused is not None else "-"),
    ]


def _memory_rows(live: Live) -> list[tuple[str, str]]:
    if live.memory is None:
        return [("private", "-"), ("model pages", "-")]
    return [
        ("private", units.size(live.memory.private_bytes)),
        ("model pages", units.size(live.memory.model_pages_bytes)),
    ]


def _thread_rows(live: Live) -> list[tuple[str, str]]:
    if live.info is None:
        return [("threads", "-")]
    now = live.threads or live.info.threads
    how = "fixed" if live.info.threads_fixed else ("adapted" if now != live.info.threads else "")
    return [("threads", f"{now} of {live.info.threads} {how}".rstrip())]


def _cost_rows(live: Live, price: Price | None) -> list[tuple[str, str]]:
    if price is None:
        return [("avoided", "-")]
    turn = units.money(live.last.cost.usd) if live.last and live.last.cost else "-"
    return [
        ("avoided", turn),
        ("  since start", units.money(live.session_usd)),
        ("  against", price.title),
        ("  price of", price.price_date.isoformat()),
    ]


def _decode(live: Live) -> str:
    if live.last is not None:
        return units.rate(live.last.done.decode_tok_per_s)
    if live.delta is None:
        return "-"
    delta = live.delta
    return units.rate(metrics.decode_tok_per_s(delta.completion_tokens, delta.decode_s))


def _ttft(live: Live) -> str:
    return units.duration(live.last.done.timings.ttft_s) if live.last else "-"


def _prefill_rate(live: Live) -> float | None:
    progress = live.prefill
    if progress is None:
        return None
    return metrics.prefill_tok_per_s(progress.done_tokens, progress.elapsed_s)


def _prefill_words(live: Live) -> str:
    progress = live.prefill
    assert progress is not None
    done = f"{units.count(progress.done_tokens)}/{units.count(progress.total_tokens)} tok"
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
    return units.short_count(total) if total else "-"


def _memory_short(live: Live) -> str:
    """Private and model pages, the unit once where both have it: `129+92 MB`."""
    memory = live.memory
    if memory is None:
        return "-"
    if memory.private_bytes is None or memory.model_pages_bytes is None:
        return units.size(memory.resident_bytes)
    private, pages = units.size(memory.private_bytes), units.size(memory.model_pages_bytes)
    amount, _, unit = private.partition(" ")
    return f"{amount}+{pages}" if pages.endswith(f" {unit}") else f"{private}+{pages}"
