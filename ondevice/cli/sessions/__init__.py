"""`ondevice sessions`: the conversations that are kept here."""

from __future__ import annotations

import click

from ondevice.cli.sessions.delete import delete
from ondevice.cli.sessions.looking import list_sessions, search, show
from ondevice.cli.sessions.rename import rename
from ondevice.cli.sessions.transfer import export, import_session


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def sessions(context: click.Context, as_json: bool) -> None:
    """List the conversations that are kept here, or do something with them."""
    if context.invoked_subcommand is None:
        list_sessions(as_json)
    elif as_json:
        raise click.UsageError("--json belongs after the command", context)


for command in (search, show, rename, delete, export, import_session):
    sessions.add_command(command)
