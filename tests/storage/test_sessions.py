"""What a method has returned from is durable, whatever ends the process, and whatever it says."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from answers import MEASURED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from other_process import go_on, heard, start

from ondevice.domain.text import storable
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

WRITE_FOR_EVER = """
sessions = Sessions(Database(path))
session = sessions.create("killed")
for number in range(10_000):
    say(sessions.add(session.id, "user", f"question {number}").id, f"question {number}")
    answer = sessions.add(session.id, "assistant", "", "streaming")
    sessions.save_part(answer.id, f"part {number}")
    say(answer.id, f"part {number}")
    sessions.finish(answer, f"answer {number}", "complete", "stop", None)
    say(answer.id, f"answer {number}")
"""


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


def acknowledged_then_killed(path: Path, chance: random.Random) -> dict[int, str]:
    """What the writer said was stored, by id, up to a random moment at which it is killed."""
    writer = start(WRITE_FOR_EVER, path)
    said = [heard(writer) for _ in range(chance.randrange(1, 60))]
    writer.kill()
    rest, _ = writer.communicate()
    lines = [line for line in (*said, *rest.splitlines()) if line[-1:].isdigit()]
    whole = lines[:-1] if rest and not rest.endswith("\n") else lines
    return {int(number): text for number, _, text in (line.partition(" ") for line in whole)}


def check_one_kill(path: Path, seed: int) -> None:
    acknowledged = acknowledged_then_killed(path, random.Random(seed))
    database = Database(path)
    assert database.set_aside is None
    assert database.rows("PRAGMA integrity_check")[0][0] == "ok"
    sessions = Sessions(database)
    (session,) = sessions.recent()
    stored = {message.id: message for message in sessions.messages(session.id)}
    for number, text in acknowledged.items():
        kind, _, turn = stored[number].content.partition(" ")
        if text.startswith("part"):  # it may have got further
            assert (kind, turn) in {("part", text.split()[1]), ("answer", text.split()[1])}
        else:
            assert stored[number].content == text
    states = [message.state for message in stored.values()]
    assert "streaming" not in states
    assert states.count("interrupted") <= 1
    database.close()


@pytest.mark.parametrize("seed", range(10))
def test_what_was_acknowledged_survives_a_kill(seed: int, path: Path) -> None:
    check_one_kill(path, seed)


@pytest.mark.soak
def test_what_was_acknowledged_survives_a_hundred_kills(tmp_path: Path) -> None:
    for seed in range(1000, 1100):
        check_one_kill(tmp_path / str(seed) / "ondevice.db", seed)


def test_messages_come_in_the_order_they_were_added(sessions: Sessions) -> None:
    session = sessions.create("order")
    for number in range(5):
        sessions.add(session.id, "assistant" if number % 2 else "user", str(number))
    stored = sessions.messages(session.id)
    assert [message.content for message in stored] == list("01234")
    assert [message.role for message in stored][:2] == ["user", "assistant"]


def test_the_session_used_last_comes_first(sessions: Sessions) -> None:
    first, second = sessions.create("first"), sessions.create("second")
    sessions.add(second.id, "user", "a")
    sessions.add(first.id, "user", "b")
    assert [session.title for session in sessions.recent()] == ["first", "second"]
    assert [session.title for session in sessions.recent(limit=1)] == ["first"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Why?\nBecause.", "Why? Because."),
        ("\x1b[31mred", "[31mred"),
        (" \n\t", "New conversation"),
        ("word " * 40, "word " * 11 + "word…"),
    ],
    ids=["lines", "escape", "blank", "long"],
)
def test_a_title_is_one_clean_short_line(text: str, title: str, sessions: Sessions) -> None:
    session = sessions.create(text)
    assert session.title == title
    assert sessions.recent() == [session]


@pytest.mark.parametrize(
    "text",
    ["a\ud800b", "\udcff", "nul\0inside", "\0", "👩‍👩‍👧", "\x1b[2J", "'; DROP TABLE message; --"],
    ids=["high", "low", "nul", "only-nul", "emoji", "escape", "quote"],
)
def test_any_text_is_stored_as_valid_text(text: str, path: Path, sessions: Sessions) -> None:
    session = sessions.create("x", system_prompt=text)
    added = sessions.add(session.id, "user", text)
    assert sessions.messages(session.id) == [added]
    assert added.content == storable(text)
    assert sessions.recent() == [session]
    raw = sqlite3.connect(path)
    raw.text_factory = bytes
    (content,) = raw.execute("SELECT content FROM message").fetchone()
    raw.close()
    assert content.decode() == storable(text)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40
)
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=300))
def test_what_is_stored_reads_back(text: str, sessions: Sessions) -> None:
    session = sessions.create(text)
    sessions.add(session.id, "user", text)
    assert [message.content for message in sessions.messages(session.id)] == [storable(text)]


def test_a_finished_answer_keeps_its_numbers(database: Database, sessions: Sessions) -> None:
    session = sessions.create("numbers")
    row = sessions.add(session.id, "assistant", "", "streaming", "starter")
    kept = sessions.finish(row, "text", "complete", "stop", MEASURED)
    assert kept == replace(
        row,
        content="text",
        state="complete",
        completion_tokens=5,
        decode_tok_per_s=2.0,
        finish_reason="stop",
        prompt_tokens=30,
        cached_tokens=10,
        ttft_s=0.5,
    )
    (stored,) = database.rows("SELECT * FROM answer")
    assert (stored["baseline"], stored["price_date"]) == ("b", "2026-11-24")
    assert stored["usd"] == "0.0000350"  # exact, with its digits
    assert stored["seconds"] == 2.5
    (message,) = database.rows("SELECT * FROM message")
    assert message["writer"] is None


def test_an_answer_without_numbers_has_none(database: Database, sessions: Sessions) -> None:
    session = sessions.create("no numbers")
    row = sessions.add(session.id, "assistant", "", "streaming")
    kept = sessions.finish(row, "half", "interrupted", "failed", None)
    assert (kept.state, kept.finish_reason) == ("interrupted", "failed")
    assert kept.decode_tok_per_s is None
    assert database.rows("SELECT * FROM answer") == []


class TestHalfAnswers:
    CODE = """
sessions = Sessions(Database(path))
session = sessions.create("half")
answer = sessions.add(session.id, "assistant", "", "streaming")
sessions.save_part(answer.id, "half")
say("written")
wait()
"""

    @staticmethod
    def states(path: Path) -> list[tuple[str, str]]:
        database = Database(path)
        sessions = Sessions(database)
        found = [
            (message.content, message.state)
            for session in sessions.recent()
            for message in sessions.messages(session.id)
        ]
        database.close()
        return found

    def test_of_a_process_that_lives_are_still_growing(self, path: Path, another_process) -> None:
        writer = another_process(self.CODE)
        assert heard(writer) == "written"
        assert self.states(path) == [("half", "streaming")]
        go_on(writer)
        writer.wait(30)
        assert self.states(path) == [("half", "interrupted")]

    def test_of_a_process_nobody_waited_for_are_interrupted(
        self, path: Path, another_process
    ) -> None:
        writer = another_process(self.CODE)
        assert heard(writer) == "written"
        writer.kill()
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
        assert self.states(path) == [("half", "interrupted")]

    @pytest.mark.parametrize("writer", [None, "", "nonsense", "-1 x"], ids=str)
    def test_of_an_unknown_process_are_interrupted(self, writer: str | None, path: Path) -> None:
        self.put(path, writer)
        assert self.states(path) == [("half", "interrupted")]

    def test_of_an_earlier_process_with_our_number_are_interrupted(self, path: Path) -> None:
        """In a container every start can have the same one."""
        self.put(path, f"{os.getpid()} 12345@another-boot")
        assert self.states(path) == [("half", "interrupted")]

    def test_of_this_process_are_still_growing(self, path: Path) -> None:
        self.put(path, "ours")
        assert self.states(path) == [("half", "streaming")]

    @staticmethod
    def put(path: Path, writer: str | None) -> None:
        database = Database(path)
        sessions = Sessions(database)
        sessions.add(sessions.create("half").id, "assistant", "half", "streaming")
        if writer != "ours":
            with database.transaction() as connection:
                connection.execute("UPDATE message SET writer = ?", (writer,))
        database.close()
