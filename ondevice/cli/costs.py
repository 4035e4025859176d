"""`ondevice costs`: what the answers used, and what that would have cost elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from ondevice import accounts, pricing, units
from ondevice.cli.storage import open_database, print_json
from ondevice.cli.table import print_table
from ondevice.domain.ledger import Grouping, Totals, total, totals
from ondevice.paths import user_paths
from ondevice.storage.ledger import Ledger


@click.command()
@click.option(
    "--by", type=click.Choice(["day", "model", "session"]), default="day", show_default=True
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on: 2026-11-24.")
@click.option("--baseline", help="Price all of it at this cloud model, not at that of its time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def costs(by: Grouping, since: datetime | None, baseline: str | None, as_json: bool) -> None:
    """Show what answers used, what they avoided in US dollars, and what their power cost.

    Tokens are those of the local model's tokenizer. NET is what was avoided minus known power
    costs, BATCH what the same usage costs in the provider's batches, /USEFUL is NET per answer
    that was marked useful. `unknown` and `-` are what cannot be said, and a column of nothing
    else is left out.
    """
    day = since.date() if since else None
    price = pricing.price(baseline, cache_dir=user_paths().cache) if baseline else None
    with open_database() as database:
        entries = Ledger(database).entries(day) if database else []
    if price is not None:
        entries = [entry.at_price(price) for entry in entries]
    rows, everything = totals(entries, by), total(entries)
    if as_json:
        document = {
            "by": by,
            "since": day.isoformat() if day else None,
            "baselines": [{"baseline": b, "price_date": d} for b, d in accounts.baselines(entries)],
            "rows": [_facts(row, by) for row in rows],
            "total": _facts(everything),
        }
        print_json(document)
    elif not entries:
        before = " since that day" if day else " yet"
        click.echo(f"No answer was counted{before}. `ondevice` opens the chat.", err=True)
    else:
        lines = [(accounts.name(row, by), *accounts.cells(row).values()) for row in rows]
        last = [("all", *accounts.cells(everything).values())] if len(rows) > 1 else []
        head = (by.upper(), *accounts.HEAD)
        table = _without_empty([head, *lines, *last])
        print_table(table, right=range(1, len(table[0])))
        for note in accounts.notes(entries, everything):
            click.echo(note, err=True)


def _without_empty(table: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without columns that say nothing; NET is AVOIDED where no power is known."""
    cells = {column[0]: set(column[1:]) for column in zip(*table, strict=True)}
    empty = {name for name in ("/USEFUL", "BATCH") if cells[name] == {"-"}}
    empty |= {"USEFUL"} if cells["USEFUL"] == {"0"} else set()
    empty |= {"POWER", "NET"} if cells["POWER"] == {units.UNKNOWN} else set()
    kept = [place for place, name in enumerate(table[0]) if name not in empty]
    return [tuple(row[place] for place in kept) for row in table]


def _facts(row: Totals, by: Grouping | None = None) -> dict[str, Any]:
    facts: dict[str, Any] = {by: int(row.key) if by == "session" else row.key} if by else {}
    if by == "session":
        facts["title"] = row.title
    return facts | {
        "turns": row.entries,
        "answers": row.answers,
        "useful": row.useful,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "evaluated_tokens": row.evaluated_tokens,
        "completion_tokens": row.completion_tokens,
        "seconds": row.seconds,
        "avoided_usd": f"{row.usd:f}",
        "answers_unpriced": row.unpriced,
        "joules": row.joules,
        "electricity_usd": f"{row.electricity_usd:f}",
        "turns_without_electricity": row.electricity_unknown,
        "net_usd": f"{row.net_usd:f}",
        "net_usd_per_useful": None if row.usd_per_useful is None else f"{row.usd_per_useful:f}",
        "batch_usd": None if row.batch_usd is None else f"{row.batch_usd:f}",
    }
