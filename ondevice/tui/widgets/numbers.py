"""The rows of the meter: which numbers of `Live` stand where, by how much room there is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from enum import IntEnum

from ondevice import units
from ondevice.domain import metrics
from ondevice.domain.cost import Price
from ondevice.domain.reuse import Reuse
from ondevice.domain.text import clean_line
from ondevice.tui.live import Live
from ondevice.tui.widgets.parts import legend, parts_bar, short_legend

NOT_YET = "-"
FIRST = "with an answer"
"""When a rate will stand there, before the first one."""
BARS = "▁▂▃▄▅▆▇█"
LABEL = 14

Rows = list[tuple[str, str]]
SPACE = ("", "")


class Scarcity(IntEnum):
    """How little room there is: each leaves out more, but no number."""

    ROOMY = 0
    NO_SPACES = 1
    SHORT = 2
    """The parts of the context without their names, the reason of a miss cut."""
    SHORTEST = 3
    """No curve."""


def rows_of(live: Live, width: int, height: int) -> tuple[Rows, Rows]:
    """Those that change with every token, and the rest: as roomy as `height` rows allow."""
    for scarce in Scarcity:  # the scarcest fit into a terminal of 24 lines
        above = [*_speed_rows(live, width, scarce), *_context_rows(live, width, scarce)]
        above += _reuse_rows(live, width, scarce)
        below = [*_memory_rows(live), *_thread_rows(live), *_cost_rows(live, scarce)]
        if len(above) + len(below) <= height:
            break
    return above, below


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


def _speed_rows(live: Live, width: int, scarce: Scarcity) -> Rows:
    rows = [("decode", decode(live))]
    if scarce < Scarcity.SHORTEST:
        rows.append(("", curve(live.rates, width - LABEL)))
    rows.append(("first token", ttft(live)))
    if live.reading is not None:
        return [*rows, ("reading", reading_words(live))]
    rate = live.last.done.prefill_tok_per_s if live.last else _prefill_rate(live)
    begun = live.last is not None or live.prefill is not None
    return [*rows, ("prefill", units.rate(rate) if begun else NOT_YET)]


def _context_rows(live: Live, width: int, scarce: Scarcity) -> Rows:
    amounts = context_words(live)
    room = max(3, width - LABEL - len(amounts) - 1)
    rows = [("context", f"{context_bar(live, room)} {amounts}")]
    if live.context is None:
        told = [f"  parts: {'when it ends' if _is_made(live) else NOT_YET}", ""]
    else:
        told = legend(live.context)
    if scarce >= Scarcity.SHORT:
        told = [short_legend(live.context) if live.context else told[0]]
    return rows + [(row, "") for row in told]


def context_bar(live: Live, width: int) -> str:
    """By part where that is known."""
    return parts_bar(live.context, width) if live.context else bar(*_in_use(live), width)


def _is_made(live: Live) -> bool:
    """Whether an answer is, or its prompt is read."""
    return live.last is None and (live.prefill is not None or live.delta is not None)


def _reuse_rows(live: Live, width: int, scarce: Scarcity) -> Rows:
    rows = [("reused", NOT_YET), ("  since start", _reused(live.reuse_total))]
    if live.last is not None:
        rows[0] = ("reused", _reused(live.reuse))
    elif live.prefill is not None:
        rows[0] = ("reused", f"{units.count(live.prefill.cached_tokens)} tok")
    if live.last is None or not live.reuse.missed:
        return rows
    told = textwrap.wrap(f"missed: {clean_line(live.reuse.missed, 200)}", width)
    return rows + [(row, "") for row in told[: 1 if scarce >= Scarcity.SHORT else None]]


def _reused(reuse: Reuse) -> str:
    """Tokens, and the seconds of as many of them as are known."""
    tokens = f"{units.count(reuse.tokens)} tok"
    if reuse.seconds is None:
        return f"{tokens}, {units.UNKNOWN}" if reuse.tokens else tokens
    return f"{tokens}, {'≥ ' if reuse.unmeasured_tokens else ''}{units.duration(reuse.seconds)}"


def _memory_rows(live: Live) -> Rows:
    memory, machine = live.memory, live.machine
    private = units.size(memory.private_bytes) if memory else NOT_YET
    pages = units.size(memory.model_pages_bytes) if memory else NOT_YET
    rows = [("private", private), ("model pages", pages), *_device_rows(live)]
    if machine is None:
        return [*rows, ("machine", NOT_YET)]
    free, total = units.size(machine.available_bytes), units.size(machine.total_bytes)
    return [*rows, ("machine", f"{free} of {total} free")]


def _device_rows(live: Live) -> Rows:
    """Of a model that is on a device; a CPU alone has no such numbers."""
    offload = live.info.offload if live.info else None
    if offload is None or not offload.layers:
        return []
    layers = f"{offload.layers}/{offload.of} layers"
    return [("device memory", f"{units.size(offload.used_bytes)}, {layers}")]


def _thread_rows(live: Live) -> Rows:
    if live.info is None:
        return [("threads", NOT_YET)]
    now = live.threads or live.info.threads
    how = "fixed" if live.info.threads_fixed else ("adapted" if now != live.info.threads else "")
    return [("threads", f"{now} of {live.info.threads} {how}".rstrip())]


def _cost_rows(live: Live, scarce: Scarcity) -> Rows:
    price, frontier = live.price, live.frontier
    if price is None:
        return [("avoided", NOT_YET)]
    space = [] if scarce else [SPACE]
    rows = _price_rows(live, price)
    if frontier is not None and frontier.baseline != price.baseline:
        same_day = frontier.price_date == price.price_date
        rows += [] if same_day else [_day("  price of", price)]
        rows += [*space, *_price_rows(live, frontier, "frontier")]
        rows.append(_day("  prices of" if same_day else "  price of", frontier))
    else:
        rows.append(_day("  price of", price))
    if scarce == Scarcity.SHORTEST and _device_rows(live):  # which takes its place; F1 has it, too
        return rows
    return [*rows, *space, ("counted by the local tokenizer", "")]


def _day(label: str, price: Price) -> tuple[str, str]:
    return label, price.price_date.isoformat()


def _price_rows(live: Live, price: Price, label: str = "") -> Rows:
    """Of the last answer, and of all since the start."""
    last = live.last.cost_at(price) if live.last else None
    amount = units.money(last.net_usd) if last else NOT_YET
    return [
        (label or (last.label if last else "avoided"), amount),
        ("  since start", units.money(live.avoided(price))),
        ("  against", clean_line(price.title, 20)),
    ]


def decode(live: Live, unknown: str = units.UNKNOWN) -> str:
    if live.last is None and live.delta is None:
        return NOT_YET if live.spent else FIRST
    if live.last is not None:
        rate = live.last.done.decode_tok_per_s
    elif live.delta is not None:
        rate = metrics.decode_tok_per_s(live.delta.completion_tokens, live.delta.decode_s)
    return unknown if rate is None else units.rate(rate)


def ttft(live: Live) -> str:
    if live.last is not None:
        return units.duration(live.last.done.timings.ttft_s)
    return units.duration(live.delta.ttft_s) if live.delta else NOT_YET


def _prefill_rate(live: Live) -> float | None:
    progress = live.prefill
    if progress is None:
        return None
    return metrics.prefill_tok_per_s(progress.done_tokens, progress.elapsed_s)


def reading_words(live: Live) -> str:
    progress = live.reading
    assert progress is not None
    done = f"{units.short_count(progress.done_tokens)}/{units.short_count(progress.total_tokens)}"
    return done + (f", {units.duration(progress.eta_s)} left" if progress.eta_s else "")


def _in_use(live: Live) -> tuple[int, int]:
    """Tokens in use, and all there are."""
    total = live.info.n_ctx if live.info else 0
    if live.context is not None:
        return live.context.used, total
    if live.last is not None:
        usage = live.last.done.usage
        return usage.prompt_tokens + usage.completion_tokens, total
    if live.delta is not None:
        return live.delta.context_tokens, total
    if live.prefill is not None:
        return live.prefill.cached_tokens + live.prefill.done_tokens, total
    return 0, total


def context_words(live: Live) -> str:
    """`2.9k/4.1k`"""
    used, total = _in_use(live)
    return f"{units.short_count(used)}/{units.short_count(total) if total else NOT_YET}"
