"""`ondevice sessions rename`: another title."""

from __future__ import annotations

import click

from ondevice.cli.storage import make_database, tree_of
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.storage.sessions import Sessions


@click.command()
@click.argument("session", metavar="ID", type=int)
@click.argument("title")
def rename(session: int, title: str) -> None:
    """Call a conversation TITLE."""
    if not clean_line(title):
        raise UsageTrouble("the title is empty", hint='Such as: ondevice sessions rename 3 "Rain"')
    tree_of(session)
    with make_database() as database:
        click.echo(f"Renamed: {Sessions(database).rename(session, title).title}", err=True)
