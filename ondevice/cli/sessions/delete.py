"""`ondevice sessions delete`: conversations go, from every byte; their accounts stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import click

from ondevice import units
from ondevice.cli.confirm import confirm
from ondevice.cli.options import session_id
from ondevice.cli.storage import NOTHING_KEPT, open_database, print_json
from ondevice.domain.session import Session
from ondevice.domain.text import clean_line
from ondevice.errors import UnknownSession, UsageTrouble
from ondevice.storage.database import Database
from ondevice.storage.sessions import EVERY, Sessions

LISTED = 20
ACCOUNTS_STAY = (
    "Counts and costs stay in the accounts, without any text or title (see: ondevice costs)."
)


@click.command()
@click.argument("sessions", metavar="[ID]...", type=session_id, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every conversation.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; needs --yes.")
def delete(sessions: tuple[int, ...], everything: bool, yes: bool, as_json: bool) -> None:
    """Delete conversations with all of their paths, for good."""
    if bool(sessions) == everything:
        raise UsageTrouble(
            "say which conversations: their numbers, or --all", hint="See: ondevice sessions"
        )
    with open_database() as database:
        if database is None and sessions:
            raise UnknownSession(f"there is no session {sessions[0]}", hint=NOTHING_KEPT)
        gone = _delete(database, sessions, yes, as_json) if database else []
        aside = database.set_aside_files() if database else []
    if as_json:
        stay = [str(file) for file in aside]  # damaged databases, which may hold parts of them
        print_json({"deleted": [each.id for each in gone], "set_aside": stay})
    elif gone:
        click.echo(f"Deleted: {count(len(gone))}.", err=True)
    else:
        click.echo("There is nothing to delete.", err=True)


def _delete(
    database: Database, numbers: tuple[int, ...], yes: bool, as_json: bool
) -> list[Session]:
    """No numbers are all."""
    store = Sessions(database)
    due, question = farewell(database, store, numbers, quiet=as_json)
    if question:
        confirm(question, yes, as_json)
        take(store, due, everything=not numbers)
    return due


def farewell(
    database: Database, store: Sessions, numbers: Collection[int], quiet: bool = False
) -> tuple[list[Session], str]:
    """Tell what goes and what stays, where not `quiet`; no numbers are all. Returns what goes, and
    what is to be asked first: nothing where nothing is there.

    Raises UnknownSession.
    """
    chosen = dict.fromkeys(numbers)  # one may be named twice
    due = [store.get(number) for number in chosen] if numbers else store.recent(EVERY)
    aside = database.set_aside_files()
    beside = aside or store.states.total_bytes() or store.copied.path.exists()
    if not due and not beside:
        return [], ""
    if not quiet:
        _tell(store, due)
        for part in aside:
            word = "may hold parts of them, and stays" if numbers else "is deleted as well"
            click.echo(f"A damaged database {word}: {clean_line(str(part), 400)}", err=True)
    return due, f"Delete {count(len(due))} for good?"


def take(store: Sessions, due: Iterable[Session], everything: bool) -> None:
    """What was told goes; `everything` takes along what lies beside them."""
    if everything:
        store.delete_all()
    else:
        store.delete(each.id for each in due)


def _tell(store: Sessions, due: list[Session]) -> None:
    sizes = {each.session.id: each.messages for each in store.listed()}
    for each in due[:LISTED]:
        messages = units.count(sizes.get(each.id, 0))
        title = clean_line(each.title, 60)
        click.echo(f"{each.id:>5}  {title} · messages: {messages}", err=True)
    if len(due) > LISTED:
        click.echo(f"       and {units.count(len(due) - LISTED)} more", err=True)
    click.echo(ACCOUNTS_STAY, err=True)


def count(number: int) -> str:
    return "1 conversation" if number == 1 else f"{units.count(number)} conversations"
