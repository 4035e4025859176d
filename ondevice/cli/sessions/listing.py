"""`ondevice sessions list`, which is also `ondevice sessions`: what is kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ondevice import units
from ondevice.cli.storage import NOTHING_KEPT, open_database, print_json
from ondevice.cli.table import print_table
from ondevice.domain.session import Listed
from ondevice.storage.sessions import Sessions


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_sessions(as_json: bool) -> None:
    """List all conversations, the one used last first."""
    with open_database() as database:
        known = Sessions(database).listed() if database else []
    if as_json:
        print_json([_facts(each) for each in known])
    elif not known:
        click.echo(NOTHING_KEPT, err=True)
    else:
        print_table([("ID", "BEGUN", "MESSAGES", "TITLE"), *map(_cells, known)], right={0, 2})


def _cells(each: Listed) -> tuple[str, ...]:
    one = each.session
    return str(one.id), units.moment(one.created_at), units.count(each.messages), one.title


def _facts(each: Listed) -> dict[str, Any]:
    return asdict(each.session) | {
        "used_at": each.used_at,
        "messages": each.messages,
        "model": each.model,
        "tokens": each.tokens,
    }
