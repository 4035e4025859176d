"""The user's database, for one command, and what several commands say of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ondevice import units
from ondevice.cli.options import KEPT
from ondevice.domain.model import ModelFile
from ondevice.domain.session import SessionTree
from ondevice.domain.text import clean, clean_line
from ondevice.errors import SettingsInvalid, StorageTrouble, UnknownSession
from ondevice.paths import Paths, user_paths
from ondevice.settings import SettingsFile
from ondevice.storage import recovery
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions
from ondevice.storage.troubles import named

if TYPE_CHECKING:
    from ondevice.catalog import Catalog

NOTHING_KEPT = "No conversation is kept here yet. `ondevice` begins one."


@contextmanager
def open_database() -> Iterator[Database | None]:
    """None where nothing was ever kept: looking makes no file. Raises StorageTrouble."""
    path = user_paths().database
    if not _is_there(path):
        yield None
        return
    with closing(Database(path)) as database:
        if database.set_aside is not None:
            name, kept = clean_line(str(database.set_aside)), database.recovered
            click.echo(f"ondevice: damaged, set aside: {name}; recovered: {kept}", err=True)
        yield database


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):  # the latter: HOME=/dev/null
        return recovery.begun(path) is not None
    except OSError as error:
        raise named(error, path) from error
    return True


@contextmanager
def make_database() -> Iterator[Database]:
    """As above, and made where it is not there yet."""
    with closing(Database(user_paths().database)) as database:
        yield database


def open_storage() -> tuple[Database | None, Sessions | None, str]:
    """What keeps the conversations, or nothing with the reason: a chat works without it."""
    database = None
    try:
        database = Database(user_paths().database)
        sessions = Sessions(database)  # it writes where an earlier process was killed mid-answer
    except StorageTrouble as error:
        if database:
            database.close()
        return None, None, f"Nothing will be kept: {error.message}"
    return database, sessions, _set_aside(database)


def _set_aside(database: Database) -> str:
    """What became of a damaged database, if there was one."""
    if database.set_aside is None:
        return ""
    kept = units.count(database.recovered)
    return (
        f"The database was damaged and is now {database.set_aside.name}; "
        f"messages recovered from it: {kept}."
    )


def tree_of(session_id: int) -> SessionTree:
    """Raises UnknownSession, also where nothing was ever kept."""
    with open_database() as database:
        if database is None:
            raise UnknownSession(f"there is no session {session_id}", hint=NOTHING_KEPT)
        return Sessions(database).tree(session_id)


def print_json(document: Any) -> None:
    """One document on stdout."""
    import json  # deferred: only for this

    click.echo(json.dumps(document, indent=2))


def print_session(tree: SessionTree, form: str) -> None:
    """One of `transfer.FORMS` on stdout; a terminal gets nothing of it that it would obey."""
    from ondevice.chat import transfer  # deferred: only for this

    data = transfer.exported(tree, form)
    if sys.stdout.isatty():
        data = clean(data.decode()).encode() if form == "md" else _in_ascii(data)
    # bytes, as the terminal's own encoding may not have every character of a conversation
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _in_ascii(document: bytes) -> bytes:
    import json  # deferred, as above

    return json.dumps(json.loads(document), indent=2).encode() + b"\n"


def hash_of(file: ModelFile, read: bool, known: Catalog, paths: Paths) -> str | None:
    """The sha256 of a model file, see `chat.prefixes.ModelHash`."""
    from ondevice.hub import identity  # deferred: after the first paint of the app

    find = identity.sha256_of if read else identity.known_sha256
    return find(file, known, paths.cache)


def most_state_bytes(paths: Paths) -> int | None:
    """What states may take by now, see `chat.prefixes.MostBytes`; unknown where the file does not
    say it right."""
    try:
        return SettingsFile(paths.settings).load(*KEPT)[0].most_state_bytes
    except SettingsInvalid:
        return None
