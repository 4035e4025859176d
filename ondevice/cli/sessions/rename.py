"""`ondevice sessions rename`: another title."""

from __future__ import annotations

from dataclasses import asdict

import click

from ondevice.cli.options import session_id
from ondevice.cli.storage import make_database, print_json, tree_of
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.storage.sessions import Sessions


@click.command()
@click.argument("session", metavar="ID", type=session_id)
@click.argument("title")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def rename(session: int, title: str, as_json: bool) -> None:
    """Call a conversation TITLE."""
    if not clean_line(title):
        raise UsageTrouble("the title is empty", hint='Such as: ondevice sessions rename 3 "Rain"')
    tree_of(session)
    with make_database() as database:
        renamed = Sessions(database).rename(session, title)
    if as_json:
        print_json(asdict(renamed))
    else:
        click.echo(f"Renamed: {renamed.title}", err=True)
