"""`ondevice sessions import`: a conversation from a file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from ondevice.chat import transfer
from ondevice.cli.storage import make_database, print_json
from ondevice.domain.session import SessionTree
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.storage.sessions import Sessions


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def take_in(file: Path, as_json: bool) -> None:
    """Take in a conversation that was exported as JSON; `-` reads it from a pipe."""
    tree = _read(file)
    with make_database() as database:
        session = Sessions(database).restore(tree)
    if as_json:
        print_json(asdict(session))
    else:
        click.echo(f"Session {session.id}: {clean_line(session.title)}", err=True)
        click.echo(str(session.id))


def _read(file: Path) -> SessionTree:
    if str(file) != "-":
        return transfer.read_file(file)
    try:
        return transfer.read(sys.stdin.buffer, "the input")
    except OSError as error:
        raise UsageTrouble(
            f"the input cannot be read: {error.strerror}", "Check the pipe."
        ) from error
