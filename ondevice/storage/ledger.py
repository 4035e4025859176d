"""The accounts, as they are kept: the answers that count, with or without their session."""

from __future__ import annotations

import sqlite3
from datetime import date
from decimal import Decimal

from ondevice.domain.electricity import Electricity
from ondevice.domain.generation import Usage
from ondevice.domain.ledger import Entry, batch_usd
from ondevice.storage.database import Database


class Ledger:
    """Reads the accounts. They are written with the answers they are of, see `Sessions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, since: date | None = None, session_id: int | None = None) -> list[Entry]:
        """All, or those of local days from `since` on, or of one session; the oldest first."""
        rows = self._database.rows(
            """SELECT answer.*, title FROM answer LEFT JOIN session ON session.id = session_id
            WHERE counted AND day >= ? AND ? IN (session_id, 0) ORDER BY day, answer.id""",
            since.isoformat() if since else "",
            session_id or 0,
        )
        return [_entry(row) for row in rows]


def _entry(row: sqlite3.Row) -> Entry:
    usd = _decimal(row["usd"])
    return Entry(
        at=row["at"],
        day=row["day"],
        session_id=row["session_id"],
        title=row["title"],
        model=row["model"],
        usage=Usage(row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]),
        seconds=row["seconds"],
        billable=bool(row["billable"]),
        useful=bool(row["useful"]),
        baseline=row["baseline"],
        price_date=row["price_date"],
        usd=usd,
        batch_usd=None if usd is None else batch_usd(usd, _decimal(row["batch_share"])),
        electricity=Electricity(
            row["energy_tier"], row["joules"], _decimal(row["electricity_usd"])
        ),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
