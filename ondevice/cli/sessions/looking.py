"""`ondevice sessions`, `sessions search`, `sessions show`: what is kept."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from ondevice import units
from ondevice.chat.transfer import facts_of
from ondevice.cli.storage import open_database
from ondevice.cli.table import print_table
from ondevice.domain.session import Found, Session, SessionTree, StoredMessage
from ondevice.domain.text import clean, clean_line
from ondevice.errors import UnknownSession, UsageTrouble
from ondevice.storage.sessions import Sessions

EVERY = 1_000_000_000
NOTHING_KEPT = "No conversation is kept here yet. `ondevice` begins one."


def list_sessions(as_json: bool) -> None:
    """All of them, the one used last first."""
    with open_database() as database:
        store = Sessions(database) if database else None
        known = store.recent(EVERY) if store else []
        sizes = store.sizes() if store else {}
    if as_json:
        _print_json([_facts(each) | {"messages": sizes.get(each.id, 0)} for each in known])
    elif not known:
        click.echo(NOTHING_KEPT, err=True)
    else:
        lines = [
            (str(each.id), when(each.created_at), units.count(sizes.get(each.id, 0)), each.title)
            for each in known
        ]
        print_table([("ID", "BEGUN", "MESSAGES", "TITLE"), *lines], right={0, 2})


@click.command(short_help="Find conversations by their words.")
@click.argument("text", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
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
        _print_json([_found(each) for each in found])
        return
    for each in found:
        who = f"message {each.message.id}" if each.message else "title"
        click.echo(f"{each.session.id:>5}  {clean_line(each.session.title, 60)} · {who}")
        if each.message:
            click.echo(f"       {clean_line(each.excerpt, 300)}")
    if not found:
        click.echo("Nothing was found. `ondevice sessions` lists what there is.", err=True)


@click.command(short_help="Show a conversation.")
@click.argument("session", metavar="ID", type=int)
@click.option("--paths", is_flag=True, help="The ends of all paths, not what is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(session: int, paths: bool, as_json: bool) -> None:
    """Show a conversation: the path that is shown in the app, or where each of its paths ends."""
    tree = tree_of(session)
    listed = tree.leaves if paths else tree.path
    if as_json:
        shown = {"head": tree.head_id, "messages": [_message(each) for each in listed]}
        _print_json(_facts(tree.session) | shown)
        return
    click.echo(clean_line(tree.session.title))
    for each in listed:
        mark = " · shown" if paths and each.id == tree.head_id else ""
        facts = f" · {facts_of(each)}" if facts_of(each) else ""
        click.echo(f"\n{each.id} {speaker(each)}{facts}{mark}")
        text = clean_line(each.content) if paths else each.content
        # not click's echo: it takes escapes out of a pipe, where data must stay as it is
        sys.stdout.write((clean(text) if sys.stdout.isatty() else text) + "\n")


def tree_of(session_id: int) -> SessionTree:
    """Raises UnknownSession, also where nothing was ever kept."""
    with open_database() as database:
        if database is None:
            raise UnknownSession(f"there is no session {session_id}", hint=NOTHING_KEPT)
        return Sessions(database).tree(session_id)


def speaker(message: StoredMessage) -> str:
    """Who wrote it, for people."""
    names = {"user": "You", "system": "System"}
    return names.get(message.role) or clean_line(message.model, 60) or "Model"


def when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):  # the latter: the first day of all, in another zone
        return ""


def _facts(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "title": session.title,
        "created_at": session.created_at,
        "system_prompt": session.system_prompt,
    }


def _message(message: StoredMessage) -> dict[str, Any]:
    return asdict(message)


def _found(each: Found) -> dict[str, Any]:
    return {
        "session": each.session.id,
        "title": each.session.title,
        "message": each.message.id if each.message else None,
        "role": each.message.role if each.message else None,
        "excerpt": each.excerpt,
    }


def _print_json(document: Any) -> None:
    import json  # deferred: only for this

    click.echo(json.dumps(document, indent=2))
