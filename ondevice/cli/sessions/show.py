"""`ondevice sessions show`: one conversation."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from ondevice.chat.transfer import facts_of, speaker
from ondevice.cli.options import session_id
from ondevice.cli.storage import print_json, tree_of
from ondevice.domain.text import clean, clean_line


@click.command()
@click.argument("session", metavar="ID", type=session_id)
@click.option("--paths", is_flag=True, help="The ends of all paths, not what is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(session: int, paths: bool, as_json: bool) -> None:
    """Show a conversation: the path that is shown in the app, or where each of its paths ends."""
    tree = tree_of(session).numbered
    listed = tree.leaves if paths else tree.path
    if as_json:
        shown = {"head": tree.head_id, "messages": [asdict(each) for each in listed]}
        print_json(asdict(tree.session) | shown)
        return
    click.echo(clean_line(tree.session.title))
    for each in listed:
        mark = " · shown" if paths and each.id == tree.head_id else ""
        facts = f" · {facts_of(each)}" if facts_of(each) else ""
        files = "".join(f" · with {clean_line(file.name, 60)}" for file in each.attached)
        click.echo(f"\n{each.id} {speaker(each)}{facts}{files}{mark}")
        text = clean_line(each.content) if paths else each.content
        # not click's echo: it takes escapes out of a pipe, where data must stay as it is
        sys.stdout.write((clean(text) if sys.stdout.isatty() else text) + "\n")
