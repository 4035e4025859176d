"""A session is a tree: nothing replaces a message, and every path can be gone back to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from old import make_version_1
from other_process import go_on, heard, outcome

from ondevice.domain.session import Session
from ondevice.errors import DatabaseUnusable, UnknownSession
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.schema import MIGRATIONS
from ondevice.storage.sessions import Sessions


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
def session(sessions: Sessions) -> Session:
    return sessions.create("a tree")


def shown(sessions: Sessions, session: Session) -> str:
    return " ".join(message.content for message in sessions.messages(session.id))


def ends(sessions: Sessions, session: Session) -> list[str]:
    return [message.content for message in sessions.tree(session.id).leaves]


class TestPaths:
    def test_a_message_follows_the_one_that_is_shown_last(
        self, sessions: Sessions, session: Session
    ) -> None:
        ids = [sessions.add(session.id, "user", text).id for text in "abc"]
        assert shown(sessions, session) == "a b c"
        assert [message.parent_id for message in sessions.messages(session.id)] == [None, *ids[:2]]

    def test_a_branch_leaves_the_other_path_as_it_was(
        self, sessions: Sessions, session: Session
    ) -> None:
        a, b = (sessions.add(session.id, "user", text) for text in "ab")
        sessions.move_head(session.id, a.id)
        assert shown(sessions, session) == "a"
        sessions.add(session.id, "user", "c")
        assert shown(sessions, session) == "a c"
        assert ends(sessions, session) == ["c", "b"]
        sessions.move_head(session.id, b.id)
        assert shown(sessions, session) == "a b"

    @pytest.mark.parametrize("after", [0, None], ids=["nothing", "an empty path"])
    def test_there_can_be_several_first_messages(
        self, after: int | None, sessions: Sessions, session: Session
    ) -> None:
        sessions.add(session.id, "user", "a")
        sessions.move_head(session.id, None)
        assert shown(sessions, session) == ""
        assert sessions.add(session.id, "user", "b", after=after).parent_id is None
        assert shown(sessions, session) == "b"
        assert ends(sessions, session) == ["b", "a"]

    def test_a_message_of_another_session_cannot_be_shown(
        self, sessions: Sessions, session: Session
    ) -> None:
        other = sessions.add(sessions.create("other").id, "user", "a")
        with pytest.raises(UnknownSession, match=f"has no message {other.id}"):
            sessions.move_head(session.id, other.id)
        with pytest.raises(UnknownSession, match="no session 99"):
            sessions.move_head(99, None)

    def test_what_follows_nothing_that_is_there_is_refused(
        self, sessions: Sessions, session: Session
    ) -> None:
        with pytest.raises(DatabaseUnusable, match="FOREIGN KEY"):
            sessions.add(session.id, "user", "a", after=77)
        with pytest.raises(UnknownSession, match="no session 99"):
            sessions.add(99, "user", "a")
        assert sessions.tree(session.id).messages == ()

    @settings(
        deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30
    )
    @given(places=st.lists(st.integers(0, 30), min_size=1, max_size=30))
    def test_every_path_of_any_tree_leads_from_a_first_message_to_its_leaf(
        self, places: list[int], sessions: Sessions
    ) -> None:
        session = sessions.create("any")
        paths: list[list[int]] = [[]]
        for place in places:
            path = paths[place % len(paths)]
            new = sessions.add(session.id, "user", "x", after=path[-1] if path else 0)
            paths.append([*path, new.id])
        tree = sessions.tree(session.id)
        assert tree.head_id == paths[-1][-1]
        for path in paths[1:]:
            sessions.move_head(session.id, path[-1])
            assert [message.id for message in sessions.messages(session.id)] == path
            assert [message.id for message in sessions.tree(session.id).path] == path
        longer = {each for path in paths for each in path[:-1]}
        assert {m.id for m in tree.leaves} == {m.id for m in tree.messages} - longer


class TestASession:
    def test_is_renamed(self, sessions: Sessions, session: Session) -> None:
        assert sessions.rename(session.id, " Rain\nand \x1b[31mshine").title == "Rain and [31mshine"
        assert sessions.get(session.id).title == "Rain and [31mshine"
        assert sessions.recent() == [sessions.get(session.id)]

    def test_gets_a_system_prompt(self, sessions: Sessions, session: Session) -> None:
        told = sessions.set_system_prompt(session.id, "be brief\ud800")
        assert told.system_prompt == "be brief\ufffd"
        assert sessions.get(session.id) == told

    @pytest.mark.parametrize("method", ["rename", "set_system_prompt"])
    def test_that_is_not_there_is_named(self, method: str, sessions: Sessions) -> None:
        with pytest.raises(UnknownSession, match="there is no session 7"):
            getattr(sessions, method)(7, "x")
        for reading in (sessions.get, sessions.tree):
            with pytest.raises(UnknownSession, match="there is no session 7"):
                reading(7)


class TestTwoProcesses:
    CODE = """
sessions = Sessions(Database(path, busy_s=60))
after = int(sys.argv[3])
say("ready")
wait()
for number in range(20):
    after = sessions.add(1, "user", f"{sys.argv[2]}{number}", after=after).id
"""

    def test_in_one_session_each_go_on_from_what_they_show(
        self, sessions: Sessions, session: Session, another_process
    ) -> None:
        first = sessions.add(session.id, "user", "both saw this")
        others = [another_process(self.CODE, name, first.id) for name in "ab"]
        assert [heard(other) for other in others] == ["ready", "ready"]
        for other in others:
            go_on(other)
        assert [outcome(other) for other in others] == [[], []]
        assert sorted(ends(sessions, session)) == ["a19", "b19"]
        for leaf in sessions.tree(session.id).leaves:
            sessions.move_head(session.id, leaf.id)
            name = leaf.content[0]
            expected = ["both saw this", *(f"{name}{number}" for number in range(20))]
            assert shown(sessions, session).split(" ", 3)[3:] == [" ".join(expected[1:])]


class TestAnOlderDatabase:
    def test_becomes_one_path_per_session_with_its_numbers(self, path: Path, open_database) -> None:
        path.parent.mkdir()
        make_version_1(path, messages=4, sessions=2)
        database = open_database()
        assert database.rows("PRAGMA user_version")[0][0] == len(MIGRATIONS)
        sessions = Sessions(database)
        assert [each.title for each in sessions.recent()] == ["old", "old"]
        for session in sessions.recent():
            messages = sessions.messages(session.id)
            assert [message.content[0] for message in messages] == list("0123")
            assert len(sessions.tree(session.id).leaves) == 1
            answer = messages[-1]
            assert (answer.prompt_tokens, answer.cached_tokens) == (30, 10)
            assert (answer.completion_tokens, answer.ttft_s) == (7, 0.5)
            assert (answer.decode_tok_per_s, answer.finish_reason) == (9.5, "stop")
            added = sessions.add(session.id, "user", "it goes on")
            assert added.parent_id == answer.id
        entries = Ledger(database).entries()
        assert [entry.session_id for entry in entries] == [1, 2, 1, 2]
        assert {(str(e.usd), e.baseline, e.price_date) for e in entries} == {
            ("0.0000350", "ministral-3b", "2026-11-24")
        }
        assert {(entry.at, entry.electricity.tier) for entry in entries} == {
            ("2026-11-20T10:00:00+00:00", "unknown")
        }
        assert len(sessions.search("words")) == 8
        assert database.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert database.rows("PRAGMA foreign_key_check") == []

    def test_is_brought_up_to_date_by_one_of_several_processes(
        self, path: Path, another_process, open_database
    ) -> None:
        path.parent.mkdir()
        make_version_1(path, messages=40)
        code = """
say("ready")
wait()
sessions = Sessions(Database(path, busy_s=60))
say(len(sessions.messages(1)), len(sessions.search("words", limit=100)))
"""
        others = [another_process(code) for _ in range(3)]
        assert [heard(other) for other in others] == ["ready"] * 3
        for other in others:
            go_on(other)
        assert [outcome(other) for other in others] == [["40 40"]] * 3
        assert len(Ledger(open_database()).entries()) == 20

    def test_that_is_killed_meanwhile_is_brought_up_to_date_later(
        self, path: Path, another_process, open_database
    ) -> None:
        path.parent.mkdir()
        make_version_1(path, messages=40)
        code = """
import signal
def stop(statement):
    if "DROP COLUMN baseline" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
connect = sqlite3.connect
def traced(*arguments, **named):
    connection = connect(*arguments, **named)
    connection.set_trace_callback(stop)
    return connection
sqlite3.connect = traced
Database(path)
"""
        other = another_process(code)
        other.wait(60)
        assert other.returncode == -9
        sessions = Sessions(open_database())
        assert len(sessions.messages(1)) == 40
        assert sessions.messages(1)[-1].completion_tokens == 7
