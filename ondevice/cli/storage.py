"""The user's database, for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from ondevice.domain.text import clean_line
from ondevice.paths import user_paths
from ondevice.storage.database import Database


@contextmanager
def open_database() -> Iterator[Database | None]:
    """None where nothing was ever kept: looking makes no file. Raises StorageTrouble."""
    path = user_paths().database
    if not path.exists():
        yield None
        return
    with closing(Database(path)) as database:
        if database.set_aside is not None:
            name, kept = clean_line(str(database.set_aside)), database.recovered
            click.echo(f"ondevice: damaged, set aside: {name}; recovered: {kept}", err=True)
        yield database


@contextmanager
def make_database() -> Iterator[Database]:
    """As above, and made where it is not there yet."""
    with closing(Database(user_paths().database)) as database:
        yield database
