"""`ondevice sessions export`: a conversation as a file."""

from __future__ import annotations

from pathlib import Path

import click

from ondevice.chat import transfer
from ondevice.cli.options import session_id
from ondevice.cli.storage import print_session, tree_of
from ondevice.domain.text import clean_line


@click.command()
@click.argument("session", metavar="ID", type=session_id)
@click.option(
    "--format", "form", type=click.Choice(["md", "json"]), help="Default: as FILE ends, or md."
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
def export(session: int, form: str | None, output: Path | None, force: bool) -> None:
    """Write a conversation as Markdown (what is shown) or JSON (all of it, to be imported)."""
    tree = tree_of(session)
    form = form or ("json" if output is not None and output.suffix == ".json" else "md")
    if output is None:
        print_session(tree, form)
        return
    transfer.write(output, transfer.exported(tree, form), "Add --force to replace it.", force)
    click.echo(f"Written: {clean_line(str(output), 400)}", err=True)
