"""`ondevice sessions search`: where words are."""

from __future__ import annotations

from typing import Any

import click

from ondevice.cli.options import WholeIn
from ondevice.cli.storage import open_database, print_json
from ondevice.domain.session import Found
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.storage.sessions import Sessions


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-n", "--limit", type=WholeIn(1, 10_000), default=20, show_default=True)
def search(text: tuple[str, ...], as_json: bool, limit: int) -> None:
    """Find the conversations in which all words of TEXT are, on every path of them."""
    words = " ".join(text)
    if not words.strip():
        raise UsageTrouble(
            "there is no text to look for", hint="Try: ondevice sessions search rain"
        )
    with open_database() as database:
        found = Sessions(database).search(words, limit) if database else []
    if as_json:
        print_json([_found(each) for each in found])
        return
    for each in found:
        who = f"message {each.number}" if each.message else "title"
        click.echo(f"{each.session.id:>5}  {clean_line(each.session.title, 60)} · {who}")
        if each.message:
            click.echo(f"       {clean_line(each.excerpt, 300)}")
    if not found:
        click.echo("Nothing was found. `ondevice sessions` lists what there is.", err=True)


def _found(each: Found) -> dict[str, Any]:
    return {
        "session": each.session.id,
        "title": each.session.title,
        "message": each.number,
        "role": each.message.role if each.message else None,
        "excerpt": each.excerpt,
    }
