"""`ondevice sessions list`, which is also `ondevice sessions`: what is kept."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import click

from ondevice import units
from ondevice.cli.storage import NOTHING_KEPT, open_database, print_json
from ondevice.cli.table import print_table
from ondevice.storage.sessions import EVERY, Sessions


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_sessions(as_json: bool) -> None:
    """List all conversations, the one used last first."""
    with open_database() as database:
        store = Sessions(database) if database else None
        known = store.recent(EVERY) if store else []
        sizes = store.sizes() if store else {}
    if as_json:
        print_json([asdict(each) | {"messages": sizes.get(each.id, 0)} for each in known])
    elif not known:
        click.echo(NOTHING_KEPT, err=True)
    else:
        lines = [
            (str(each.id), _when(each.created_at), units.count(sizes.get(each.id, 0)), each.title)
            for each in known
        ]
        print_table([("ID", "BEGUN", "MESSAGES", "TITLE"), *lines], right={0, 2})


def _when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):  # the latter: the first day of all, in another zone
        return ""
