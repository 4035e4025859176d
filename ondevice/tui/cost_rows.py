"""What the costs screen says: the chart of its days, the cells and details of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal

from rich.text import Text
from textual.content import Content

from ondevice import accounts, units
from ondevice.domain.ledger import Entry, Grouping, Totals, total, totals
from ondevice.tui.widgets.bars import Values, bars, reach, rows_of
from ondevice.tui.widgets.model_table import cell

WIDE = 100
ALL = "all"
GROUPINGS: tuple[Grouping, ...] = ("day", "model", "session")
WIDTHS = {"ANSWERS": 9, "USEFUL": 8, "PROMPT": 8, "REUSED": 8, "MADE": 8, "AVOIDED": 11,
          "POWER": 11, "NET": 11, "/USEFUL": 11, "BATCH": 11}  # fmt: skip
NARROW = ("ANSWERS", "USEFUL", "MADE", "NET", "/USEFUL", "BATCH")
"""What a narrow screen has room for; the rest is below the table."""
WIDEST_BAR = 5


def rows(entries: Sequence[Entry], by: Grouping) -> dict[str, Totals]:
    """By key, the newest first, behind the sum of all of them."""
    newest = totals(entries, by)[::-1]
    return {ALL: total(entries)} | {f"{by} {row.key}": row for row in newest}


def columns(width: int, by: Grouping) -> list[tuple[str, int]]:
    """Titles and widths for a screen of `width` columns; all but the first are numbers."""
    shown = [each for each in WIDTHS.items() if width >= WIDE or each[0] in NARROW]
    return [(by.upper(), max(12, width - 3 - sum(w for _, w in shown))), *shown]


def cells(key: str, row: Totals, width: int, by: Grouping) -> list[Text]:
    """What stands in the columns; numbers to the right."""
    words = {by.upper(): name(key, row, by)} | accounts.cells(row)
    (first, _), *rest = columns(width, by)
    return [cell(words[first]), *(cell(f"{words[title]:>{wide}}") for title, wide in rest)]


def name(key: str, row: Totals, by: Grouping) -> str:
    """What the row is about."""
    return ALL if key == ALL else accounts.name(row, by)


def detail(
    key: str, row: Totals, by: Grouping, entries: Sequence[Entry]
) -> Iterator[tuple[str, str]]:
    """All about one row, as labels and words; `entries` are those of all rows."""
    words = accounts.cells(row)
    turns = f"{units.count(row.entries)} turns, {words['ANSWERS']} of them answers"
    yield (ALL, turns) if key == ALL else (by, f"{name(key, row, by)} · {turns}")
    prompt, reused, made = (
        units.count(each) for each in (row.prompt_tokens, row.cached_tokens, row.completion_tokens)
    )
    evaluated = units.count(row.evaluated_tokens)
    yield "tokens", f"{prompt} prompt = {evaluated} evaluated + {reused} reused · {made} made"
    power = f"{words['POWER']} for power" if words["POWER"] != units.UNKNOWN else "power: unknown"
    yield "net", f"{words['AVOIDED']} avoided − {power} = {words['NET']}"
    each = f" · {words['/USEFUL']} net for each" if row.useful else ""
    batch = words["BATCH"] if row.batch_usd is not None else "not sold, or unknown for an answer"
    yield "useful", f"{words['USEFUL']} answers{each} · in batches: {batch}"
    for note in accounts.notes(entries, total(entries)):
        label, _, rest = note.partition(": ")
        yield ("against", rest.rstrip(".")) if label == "Avoided against" else ("missing", note)


def chart(entries: Sequence[Entry], width: int, height: int) -> Content:
    """A bar of net cost avoided for each day, up to the newest one; `height` with the dates."""
    by_day = {day: row for row in totals(entries, "day") if (day := _date(row.key))}
    if not by_day:
        return Content("")
    last, first = max(by_day), min(by_day)
    label = max(len(words) for words in _scale([_net(row) for row in by_day.values()]))
    room = width - label - 1
    count = min((last - first).days + 1, room)
    wide = min(WIDEST_BAR, max(1, (room + 1) // count - 1)) if count * 2 <= room + 1 else 1
    gap = 1 if count * (wide + 1) <= room + 1 else 0
    days = [last - timedelta(days=back) for back in range(count - 1, -1, -1)]
    values = [_net(by_day.get(day)) for day in days]
    drawn = bars(values, height - 1, wide, gap)
    above, _ = rows_of(values, height - 1)
    lines = []
    for number, (text, scale) in enumerate(zip(drawn, _labels(values, height - 1), strict=True)):
        colour = "$success" if number < above else "$error"
        lines.append(Content.assemble((f"{scale:>{label}} ", "dim"), (text, colour)))
    lines.append(Content.assemble((" " * (label + 1) + _dates(days, len(drawn[0])), "dim")))
    return Content("\n").join(lines)


def _net(row: Totals | None) -> Decimal | None:
    """0 on a day without answers; None where no price of the day is known."""
    if row is None:
        return Decimal(0)
    known = row.unpriced < row.answers or not row.answers
    return row.net_usd if known else None


def _date(day: str) -> date | None:
    """None for what an old or mended database says instead."""
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


def _scale(values: Values) -> tuple[str, str, str]:
    """The most above zero, zero, and the most below."""
    top, bottom = reach(values)
    return units.money(top), units.money(Decimal(0)), units.money(-bottom)


def _labels(values: Values, height: int) -> list[str]:
    """What stands left of each row."""
    above, below = rows_of(values, height)
    top, zero, bottom = _scale(values)
    labels = [""] * height
    if below:
        labels[-1] = bottom
    if above:
        labels[0] = top
        if above > 1:
            labels[above - 1] = zero
    return labels


def _dates(days: Sequence[date], width: int) -> str:
    """The first day and the last one below their bars, as far as there is room."""
    first, last = (f"{day:%m-%d}" for day in (days[0], days[-1]))
    gap = width - len(first) - len(last)
    return f"{first}{' ' * gap}{last}" if gap > 0 and len(days) > 1 else last
