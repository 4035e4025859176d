"""`ondevice sessions`: the conversations that are kept here."""

from __future__ import annotations

import click

from ondevice.cli.lazy import LazyGroup

COMMANDS = {
    "list": ("ondevice.cli.sessions.listing:list_sessions", "List them; also without a command."),
    "search": ("ondevice.cli.sessions.search:search", "Find conversations by their words."),
    "show": ("ondevice.cli.sessions.show:show", "Show one, or where its paths end."),
    "rename": ("ondevice.cli.sessions.rename:rename", "Give one another title."),
    "delete": ("ondevice.cli.sessions.delete:delete", "Delete some or all of them for good."),
    "export": ("ondevice.cli.sessions.export:export", "Write one as Markdown or JSON."),
    "import": ("ondevice.cli.sessions.take_in:take_in", "Take in one that was written as JSON."),
}


@click.group(cls=LazyGroup, table=COMMANDS, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def sessions(context: click.Context, as_json: bool) -> None:
    """List the conversations that are kept here, or do something with them."""
    if context.invoked_subcommand is None:
        from ondevice.cli.sessions.listing import list_sessions  # as late as the other commands

        context.invoke(list_sessions, as_json=as_json)
    elif as_json:
        raise click.UsageError("--json belongs after the command", context)
