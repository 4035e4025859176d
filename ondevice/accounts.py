"""The ledger in words: what a table of it says, for the command and the screen.

answers   what a cloud would have billed: neither failed nor blank
useful    answers that were marked so
prompt    tokens of prompts
reused    those of them that were not evaluated again
made      generated tokens
avoided   what the same usage costs at the baseline of its time, by the local model's tokens
power     electricity used here, where its cost is known
net       avoided minus power; below zero where running it here cost more
/useful   net per useful answer
batch     avoided at the provider's batch price; a chat could not have waited for it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ondevice import units
from ondevice.domain.ledger import Entry, Grouping, Totals
from ondevice.domain.text import clean_line

HEAD = ("ANSWERS", "USEFUL", "PROMPT", "REUSED", "MADE", "AVOIDED", "POWER", "NET", "/USEFUL",
        "BATCH")  # fmt: skip
NONE = "-"


def name(row: Totals, by: Grouping) -> str:
    """What the row is about."""
    if by != "session":
        return clean_line(row.key, 30) or NONE
    return f"{row.key} {clean_line(row.title, 24)}" if row.title else f"{row.key} (deleted)"


def cells(row: Totals) -> dict[str, str]:
    """By title of the column, as in `HEAD`."""
    priced = row.unpriced < row.answers or not row.answers
    powered = row.electricity_unknown < row.entries
    useful = units.money(row.usd_per_useful if priced else None) if row.useful else NONE
    words = (
        units.count(row.answers),
        units.count(row.useful),
        units.short_count(row.prompt_tokens),
        units.short_count(row.cached_tokens),
        units.short_count(row.completion_tokens),
        units.money(row.usd if priced else None),
        units.money(row.electricity_usd if powered else None),
        units.money(row.net_usd if priced else None),
        useful,
        NONE if row.batch_usd is None else units.money(row.batch_usd),
    )
    return dict(zip(HEAD, words, strict=True))


def baselines(entries: Iterable[Entry]) -> list[tuple[str, str | None]]:
    """What was compared with, and the dates of the prices."""
    return sorted({(each.baseline, each.price_date) for each in entries if each.usd is not None})


def notes(entries: Iterable[Entry], everything: Totals) -> Iterator[str]:
    """What the figures mean, and what is missing in them."""
    against = [f"{baseline} on {day}" for baseline, day in baselines(entries)]
    if against:
        yield f"Avoided against: {clean_line(', '.join(against), 300)}."
    if everything.unpriced:
        count = units.count(everything.unpriced)
        yield f"Answers without a known price, not in AVOIDED: {count}."
    if others := everything.entries - everything.answers:
        yield f"Turns that failed or gave no text, not in ANSWERS: {units.count(others)}."
    if everything.electricity_unknown:
        count = units.count(everything.electricity_unknown)
        some = everything.electricity_unknown < everything.entries
        unknown = f"Turns whose power cost is unknown, not in POWER: {count}."
        yield (
            f"{unknown if some else 'The cost of their power is unknown.'} "
            "The settings watts and tariff_usd_per_kwh make it known for later turns."
        )
