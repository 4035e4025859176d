"""The app opens whatever its database does, and says what became of it."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S

from ondevice.cli import storage
from ondevice.errors import DatabaseUnusable
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

OPEN = """
import sys
from functools import partial
from ondevice.cli import storage
from ondevice.cli.main import main
storage.Database = partial(storage.Database, busy_s=0.1)  # as much patience as a test has
sys.argv = ["ondevice"]
main()
"""


@pytest.fixture
def database_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this user's database, in this process too."""
    monkeypatch.setenv("ONDEVICE_HOME", str(home))
    return home / "data" / "ondevice.db"


def leave_half_an_answer(path: Path) -> None:
    """As after a kill in the middle of an answer: its writer is no process any more."""
    database = Database(path)
    sessions = Sessions(database)
    session = sessions.create("killed")
    answer = sessions.add(session.id, "assistant", "half", state="streaming")
    with database.transaction() as connection:
        connection.execute("UPDATE message SET writer = '0 x' WHERE id = ?", (answer.id,))
    database.close()


@pytest.fixture
def locked(database_path: Path) -> Iterator[Path]:
    """A database with half an answer, which another connection is writing to."""
    leave_half_an_answer(database_path)
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield database_path


def test_a_database_in_use_after_a_kill_does_not_keep_the_app_from_opening(
    locked: Path, environment: dict[str, str]
) -> None:
    assert locked.exists()
    window = pexpect.spawn(
        sys.executable, ["-c", OPEN], env=environment, dimensions=(40, 120), timeout=PATIENCE_S
    )
    window.expect("Nothing will be")  # the screen may write it in pieces
    window.send("\x1b[21~")  # F10
    window.expect(pexpect.EOF)
    window.close()
    assert window.exitstatus == 0


def test_what_was_opened_of_it_is_closed_again(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Database] = []

    class Noted(Database):
        def __init__(self, path: Path) -> None:
            super().__init__(path, busy_s=0.05)
            opened.append(self)

    monkeypatch.setattr(storage, "Database", Noted)
    said = f"Nothing will be kept: {locked} is in use by another process"
    assert storage.open_storage() == (None, None, said)
    with pytest.raises(DatabaseUnusable, match="closed database"):
        opened[0].rows("SELECT 1")


def test_half_an_answer_is_an_interrupted_one_once_the_database_is_free(
    database_path: Path,
) -> None:
    leave_half_an_answer(database_path)
    database, sessions, trouble = storage.open_storage()
    assert database is not None
    assert sessions is not None
    (session,) = sessions.recent()
    assert [message.state for message in sessions.messages(session.id)] == ["interrupted"]
    assert trouble == ""
    database.close()


@pytest.mark.parametrize(("messages", "recovered"), [(0, "0"), (2, "2")])
def test_what_was_recovered_from_a_damaged_database_is_told(
    database_path: Path, messages: int, recovered: str
) -> None:
    before = Database(database_path)
    sessions = Sessions(before)
    session = sessions.create("old")
    for number in range(messages):
        sessions.add(session.id, "user", f"question {number}")
    before.close()
    with database_path.open("r+b") as file:  # page 6, the last index, is on no way to the rows
        file.seek(0, 2)
        file.seek(file.tell() - 4096)
        file.write(bytes(range(7, 247)) * 17)
    database_path.with_name("ondevice.db.damaged").touch()
    database, kept, trouble = storage.open_storage()
    assert database is not None
    assert database.set_aside is not None
    assert kept is not None
    assert len(kept.messages(session.id)) == messages
    assert trouble == (
        f"The database was damaged and is now {database.set_aside.name}; "
        f"messages recovered from it: {recovered}."
    )
    database.close()
