"""Deleted means gone: no byte of it is in any file of the folder; its accounts stay, wordless."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from answers import MEASURED
from other_process import go_on, heard

from ondevice.domain.prompt import Attachment
from ondevice.domain.session import Session
from ondevice.errors import DatabaseBusy, UnknownSession
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions

MARK = "Xylocarp"
"""A word that is nowhere else; the index keeps words in small letters and cut to a prefix."""


def traces(path: Path) -> list[str]:
    """Files beside the database in which the mark can be read, as it is or as a search word."""
    needles = (MARK.encode(), MARK.lower().encode(), MARK.encode("utf-16-le"))
    found = []
    for file in sorted(path.parent.iterdir()):
        data = file.read_bytes()
        found += [file.name for needle in needles if needle in data]
    return found


def talk(sessions: Sessions, draw: random.Random, mark: str, turns: int = 12) -> Session:
    """A session of messages of any size, some of which grew; `mark` is in all of its texts."""
    session = sessions.create(f"{mark} title", system_prompt=f"{mark} prompt")
    for _ in range(turns):
        text = f"{mark}{draw.randrange(10**6)} {mark} " + "word " * draw.choice([1, 30, 300, 3000])
        after = draw.choice([None, None, 0])
        files = (Attachment(f"{mark}.txt", text),) if draw.random() < 0.3 else ()
        sessions.add(session.id, "user", text, after=after, attached=files)
        answer = sessions.add(session.id, "assistant", "", "streaming", "small")
        for part in range(draw.randrange(4)):
            sessions.save_part(answer.id, text[: 40 * 10**part])
        sessions.finish(answer, text, "complete", "stop", MEASURED, draw.random() < 0.7)
    return session


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "seeds",
    [
        # in the latter two pages were split so that stale words are where no row is any more
        pytest.param([1, 2, 1014, 1034], id="4"),
        pytest.param(range(2000, 2100), id="100", marks=pytest.mark.soak),
    ],
)
def test_no_byte_of_a_deleted_session_is_left_in_any_file(
    seeds: Sequence[int], tmp_path: Path
) -> None:
    for seed in seeds:
        path = tmp_path / str(seed) / "ondevice.db"
        draw = random.Random(seed)
        with closing(Database(path)) as database:
            sessions = Sessions(database)
            names = [draw.choice([MARK, "kept"]) for _ in range(6)] + [MARK, "kept"]
            made = [(name, talk(sessions, draw, name, 40)) for name in names]
            if seed % 2:
                database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            assert traces(path)
            before = {s.id: sessions.tree(s.id) for name, s in made if name == "kept"}
            sessions.delete([s.id for name, s in made if name == MARK])
            assert traces(path) == []
            assert {number: sessions.tree(number) for number in before} == before
            assert len(sessions.recent()) == len(before)
            assert sessions.search(MARK) == []
            assert len(sessions.search("kept", limit=10_000)) == len(before) * 81
            assert database.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert traces(path) == []
        assert [file.name for file in path.parent.iterdir()] == ["ondevice.db"]


def test_delete_all_leaves_nothing_but_accounts(path: Path, open_database) -> None:
    database = open_database()
    sessions = Sessions(database)
    talk(sessions, random.Random(1), MARK)
    path.with_name("ondevice.db.corrupt-1").write_text(MARK)
    path.with_name("ondevice.db.corrupt-1-wal").write_text(MARK)
    counted = Ledger(database).entries()
    sessions.delete_all()
    assert traces(path) == []
    assert sessions.recent() == []
    assert database.rows("SELECT * FROM message") == []
    after = Ledger(database).entries()
    assert [entry.usage for entry in after] == [entry.usage for entry in counted]
    assert [entry.usd for entry in after] == [entry.usd for entry in counted]
    assert {entry.title for entry in after} == {None}
    assert database.rows("SELECT count(*) FROM answer WHERE NOT counted")[0][0] == 0


def test_a_damaged_database_that_was_set_aside_is_named_and_stays(
    path: Path, open_database
) -> None:
    database = open_database()
    sessions = Sessions(database)
    session = sessions.create("x")
    aside = path.with_name("ondevice.db.corrupt-1")
    aside.write_text(MARK)
    sessions.delete([session.id])
    assert database.set_aside_files() == [aside]


def test_a_number_is_never_given_again(open_database) -> None:
    sessions = Sessions(open_database())
    first = sessions.create("x")
    sessions.delete([first.id])
    assert sessions.create("y").id > first.id


def test_one_that_is_not_there_keeps_all_of_them(open_database) -> None:
    sessions = Sessions(open_database())
    session = sessions.create("x")
    with pytest.raises(UnknownSession, match="no session 99"):
        sessions.delete([session.id, 99])
    assert sessions.recent() == [session]


def test_an_answer_of_a_session_deleted_meanwhile_is_counted_and_leaves_no_text(
    path: Path, open_database
) -> None:
    database = open_database()
    sessions, others = Sessions(database), Sessions(open_database())
    session = sessions.create("x")
    answer = sessions.add(session.id, "assistant", "", "streaming", "small")
    others.delete([session.id])
    with pytest.raises(UnknownSession):
        sessions.finish(answer, MARK, "complete", "stop", MEASURED)
    assert [entry.usage for entry in Ledger(database).entries()] == [MEASURED.done.usage]
    assert traces(path) == []


def test_an_answer_is_read_back_before_anybody_can_delete_it(path: Path, open_database) -> None:
    database = open_database()
    sessions = Sessions(database)
    session = sessions.create("x")
    answer = sessions.add(session.id, "assistant", "", "streaming", "small")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:

        def delete_first(statement: str) -> None:
            if statement.startswith("SELECT message"):
                with suppress(sqlite3.OperationalError):  # it is locked
                    other.execute("DELETE FROM session")

        database._connection.set_trace_callback(delete_first)
        stored = sessions.finish(answer, "Yes.", "complete", "stop", MEASURED)
        database._connection.set_trace_callback(None)
    assert (stored.content, stored.completion_tokens) == (
        "Yes.",
        MEASURED.done.usage.completion_tokens,
    )
    assert sessions.messages(session.id) == [stored]


@pytest.mark.parametrize("everything", [False, True], ids=["one", "all"])
def test_while_it_is_deleted_nothing_is_added_and_what_is_begun_stays(
    everything: bool, open_database
) -> None:
    database = open_database()
    sessions = Sessions(database)
    session = sessions.create("x")
    delete = sessions.delete_all if everything else lambda: sessions.delete([session.id])
    deleter = threading.Thread(target=delete)
    with database._lock:  # so that it has begun, and no more
        deleter.start()
        while not sessions._deleting._going:
            deleter.join(0.01)
        for attempt in (
            lambda: sessions.tree(session.id),
            lambda: sessions.add(session.id, "user", "lost"),
            lambda: sessions.rename(session.id, "y"),
            lambda: sessions.move_head(session.id, None),
        ):
            with pytest.raises(UnknownSession, match="is being deleted"):
                attempt()
        since = sessions.create("since")
        sessions.add(since.id, "user", "kept")
    deleter.join(30)
    assert sessions.recent() == [since]
    assert [each.content for each in sessions.messages(since.id)] == ["kept"]
    with pytest.raises(UnknownSession, match="no session"):
        sessions.tree(session.id)


class TestWhoIsInTheWay:
    READ_ON = """
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM message").fetchone()
say("reading")
wait()
"""

    def test_is_named_and_the_bytes_go_at_the_next_opening(
        self, path: Path, open_database, another_process
    ) -> None:
        database = open_database(busy_s=0.1)
        sessions = Sessions(database)
        session = talk(sessions, random.Random(2), MARK)
        reader = another_process(self.READ_ON)
        assert heard(reader) == "reading"
        with pytest.raises(DatabaseBusy, match="deleted, but the old bytes are not overwritten"):
            sessions.delete([session.id])
        assert sessions.recent() == []
        assert traces(path)
        go_on(reader)
        reader.wait(30)
        open_database()
        assert traces(path) == []

    def test_does_not_keep_databases_that_were_set_aside(
        self, path: Path, open_database, another_process
    ) -> None:
        sessions = Sessions(open_database(busy_s=0.1))
        talk(sessions, random.Random(5), "kept")
        aside = path.with_name("ondevice.db.corrupt-1")
        aside.write_text(MARK)
        reader = another_process(self.READ_ON)
        assert heard(reader) == "reading"
        with pytest.raises(DatabaseBusy, match="deleted, but the old bytes are not overwritten"):
            sessions.delete_all()
        assert not aside.exists()
        assert sessions.recent() == []

    def test_an_idle_app_is_not(self, path: Path, open_database, another_process) -> None:
        sessions = Sessions(open_database())
        session = talk(sessions, random.Random(3), MARK)
        idle = another_process('Sessions(Database(path)).recent(); say("open"); wait()')
        assert heard(idle) == "open"
        sessions.delete([session.id])
        assert traces(path) == []

    def test_a_kill_between_the_rows_and_their_bytes_is_made_good_at_the_next_opening(
        self, path: Path, open_database, another_process
    ) -> None:
        database = open_database()
        talk(Sessions(database), random.Random(4), MARK)
        database.close()
        code = """
import signal
database = Database(path)
def stop(statement):
    if statement == "VACUUM":
        os.kill(os.getpid(), signal.SIGKILL)
database._connection.set_trace_callback(stop)
Sessions(database).delete([1])
"""
        other = another_process(code)
        other.wait(60)
        assert other.returncode == -9
        assert traces(path)
        sessions = Sessions(open_database())
        assert traces(path) == []
        assert sessions.recent() == []


def test_temporary_files_hold_no_words(open_database) -> None:
    """Else VACUUM writes the whole database into one."""
    assert open_database().rows("PRAGMA temp_store")[0][0] == 2  # in memory
