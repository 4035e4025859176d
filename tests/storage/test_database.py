"""The database opens in every state it can be found in, or says why not; it deletes nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from other_process import go_on, heard, outcome

from ondevice.errors import DatabaseBusy, DatabaseTooNew, DatabaseUnusable
from ondevice.storage.database import Database
from ondevice.storage.schema import MIGRATIONS
from ondevice.storage.sessions import Sessions

HOLD_THE_LOCK = """
connection = sqlite3.connect(path, isolation_level=None)
connection.execute(sys.argv[2])
say("locked")
wait()
connection.execute("COMMIT")
say("free")
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put_something_in(database: Database) -> None:
    Sessions(database).create("a session")


def let_all_go(others: list[subprocess.Popen[str]]) -> None:
    """They do their work at the same moment, and end well."""
    assert [heard(other) for other in others] == ["ready"] * len(others)
    for other in others:
        go_on(other)
    assert [outcome(other) for other in others] == [[]] * len(others)


def titles(database: Database) -> list[str]:
    return [session.title for session in Sessions(database).recent()]


def test_a_commit_is_on_the_disk(open_database) -> None:
    database = open_database()
    assert database.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert database.rows("PRAGMA synchronous")[0][0] == 2  # FULL
    assert database.rows("PRAGMA foreign_keys")[0][0] == 1


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077], ids=oct)
def test_only_the_user_may_read_it(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "made" / "data" / "ondevice.db"
    before = os.umask(umask)
    try:
        database = Database(path)
        put_something_in(database)
    finally:
        os.umask(before)
    for suffix in ("", "-wal", "-shm"):
        assert mode_of(path.with_name(path.name + suffix)) == 0o600
    assert mode_of(path.parent) == 0o700
    assert mode_of(path.parent.parent) == 0o700
    database.close()


def test_a_folder_that_is_there_keeps_its_mode(path: Path, open_database) -> None:
    path.parent.mkdir(mode=0o750)
    path.parent.chmod(0o750)
    open_database()
    assert mode_of(path.parent) == 0o750


def test_opening_twice_in_one_process_keeps_the_locks(
    path: Path, open_database, another_process
) -> None:
    """Closing any descriptor of the file would drop them, and the log could be lost."""
    one = open_database()
    put_something_in(one)
    open_database()
    outcome(another_process("Database(path).close()"))
    assert path.with_name(path.name + "-wal").exists()  # not the last one, so it stays
    put_something_in(one)
    assert len(titles(open_database())) == 2


def test_an_empty_file_becomes_a_database(path: Path, open_database) -> None:
    path.parent.mkdir()
    path.touch(mode=0o600)
    database = open_database()
    assert database.set_aside is None
    assert database.rows("PRAGMA user_version")[0][0] == len(MIGRATIONS)


def test_an_older_version_is_brought_up_to_date_and_keeps_what_it_has(
    path: Path, open_database
) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (note TEXT)")
        connection.execute("INSERT INTO mine VALUES ('kept')")
    connection.close()
    database = open_database()
    assert database.rows("SELECT note FROM mine")[0][0] == "kept"
    put_something_in(database)
    assert database.rows("PRAGMA user_version")[0][0] == len(MIGRATIONS)


def test_a_database_of_a_later_version_is_left_alone(path: Path, open_database) -> None:
    database = open_database()
    put_something_in(database)
    with database.transaction() as connection:
        connection.execute("PRAGMA user_version = 999")
    database.close()
    content = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="later version") as caught:
        open_database()
    assert "Update ondevice" in caught.value.hint
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


class TestTransactions:
    @staticmethod
    def insert_twice(database: Database, verb: str, error: Exception | None = None) -> None:
        with database.transaction() as connection:
            for _ in range(2):
                connection.execute(
                    f"{verb} INTO session (id, title, created_at) VALUES (7, 'a', 'b')"
                )
                if error:
                    raise error

    def test_an_error_inside_leaves_nothing(self, open_database) -> None:
        database = open_database()
        with pytest.raises(ZeroDivisionError):
            self.insert_twice(database, "INSERT", error=ZeroDivisionError())
        assert titles(database) == []
        put_something_in(database)

    def test_an_error_after_sqlite_itself_rolled_back_keeps_its_name(self, open_database) -> None:
        database = open_database()
        with pytest.raises(DatabaseUnusable, match="UNIQUE constraint"):
            self.insert_twice(database, "INSERT OR ROLLBACK")
        assert titles(database) == []
        put_something_in(database)

    def test_use_after_close_is_a_named_error(self, open_database) -> None:
        database = open_database()
        database.close()
        with pytest.raises(DatabaseUnusable), database.transaction():
            pass
        with pytest.raises(DatabaseUnusable):
            database.rows("SELECT 1")


class TestOtherProcesses:
    def test_one_that_writes_too_long_is_named(self, open_database, another_process) -> None:
        database = open_database(busy_s=0.2)
        other = another_process(HOLD_THE_LOCK, "BEGIN IMMEDIATE")
        assert heard(other) == "locked"
        started = time.monotonic()
        with pytest.raises(DatabaseBusy, match="in use by another process"):
            put_something_in(database)
        assert 0.2 <= time.monotonic() - started < 5
        go_on(other)
        assert heard(other) == "free"
        put_something_in(database)
        assert titles(database) == ["a session"]

    def test_one_that_soon_has_written_is_waited_for(self, open_database, another_process) -> None:
        database = open_database(busy_s=30)
        other = another_process(HOLD_THE_LOCK, "BEGIN IMMEDIATE")
        assert heard(other) == "locked"
        writer = threading.Thread(target=put_something_in, args=[database])
        writer.start()
        go_on(other)
        writer.join(30)
        assert titles(database) == ["a session"]

    def test_one_that_has_it_alone_is_named_at_opening(
        self, path: Path, open_database, another_process
    ) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (note TEXT)")
        connection.close()
        other = another_process(HOLD_THE_LOCK, "BEGIN EXCLUSIVE")
        assert heard(other) == "locked"
        with pytest.raises(DatabaseBusy):
            open_database(busy_s=0.1)

    def test_writing_from_a_new_database_on_loses_nothing(
        self, open_database, another_process
    ) -> None:
        code = """
say("ready")
wait()
sessions = Sessions(Database(path, busy_s=60))
session = sessions.create(sys.argv[2])
for number in range(25):
    sessions.add(session.id, "user", str(number))
"""
        others = [another_process(code, f"writer {number}") for number in range(4)]
        let_all_go(others)
        sessions = Sessions(open_database())
        assert sorted(titles(open_database())) == [f"writer {number}" for number in range(4)]
        for session in sessions.recent():
            written = [message.content for message in sessions.messages(session.id)]
            assert written == [str(number) for number in range(25)]

    def test_a_damaged_file_is_set_aside_once(
        self, path: Path, open_database, another_process
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(b"no database " * 1000)
        code = """
say("ready")
wait()
database = Database(path, busy_s=60)
Sessions(database).create(sys.argv[2])
"""
        others = [another_process(code, f"writer {number}") for number in range(4)]
        let_all_go(others)
        assert len(list(path.parent.glob("*.corrupt-*"))) == 1
        assert len(titles(open_database())) == 4
