"""A chat whose storing is refused goes on in memory and says so once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import last, load, notices, say, stored, until_text

from ondevice.chat import Chat, Stored
from ondevice.domain.generation import EngineNotice
from ondevice.errors import DatabaseBusy
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def lock(path: Path, database: Database) -> Iterator[sqlite3.Connection]:
    """Another connection, which can hold the database so that every write is refused."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def test_trouble_in_the_middle_is_said_once_and_the_answer_goes_on(
    chat: Chat,
    lock: sqlite3.Connection,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ondevice.chat.answer.SAVE_EVERY_S", 0.0)
    load(chat, tmp_path, pieces=["word "], repeat=40, delay_s=0.01)
    events = say(chat)
    seen = until_text(events)
    lock.execute("BEGIN IMMEDIATE")
    seen.extend(events)
    lock.execute("ROLLBACK")
    assert [notice.code for notice in notices(seen)] == ["storage"]
    assert "not being saved" in notices(seen)[0].message
    assert last(chat).content == "word " * 40
    assert last(chat).state == "complete"
    assert stored(path)[-1][2] == "streaming"  # until the next start finds nobody writes it
    list(say(chat, "it goes on"))
    assert stored(path)[-2:] == [
        ("user", "it goes on", "complete"),
        ("assistant", "word " * 40, "complete"),
    ]


def test_trouble_that_has_passed_by_the_end_costs_no_answer(
    chat: Chat,
    lock: sqlite3.Connection,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ondevice.chat.answer.SAVE_EVERY_S", 0.0)
    load(chat, tmp_path, pieces=["word "], repeat=40, delay_s=0.01)
    events = say(chat)
    until_text(events)
    lock.execute("BEGIN IMMEDIATE")
    next(event for event in events if isinstance(event, EngineNotice))
    lock.execute("ROLLBACK")
    list(events)
    assert stored(path)[-1] == ("assistant", "word " * 40, "complete")


@pytest.mark.parametrize("first_turn", [True, False], ids=["first-turn", "later-turn"])
def test_trouble_with_the_question_keeps_the_turn_in_memory_and_says_so_once(
    first_turn: bool, chat: Chat, lock: sqlite3.Connection, path: Path, tmp_path: Path
) -> None:
    load(chat, tmp_path)
    if not first_turn:
        list(say(chat, "before"))
    kept = stored(path)
    lock.execute("BEGIN IMMEDIATE")
    events = list(say(chat))
    lock.execute("ROLLBACK")
    assert [notice.code for notice in notices(events)] == ["storage"]
    assert isinstance(events[-1], Stored)
    assert events[-1].message.content == "one two three"
    assert stored(path) == kept  # no answer without its question
    assert [message.role for message in chat.conversation.messages[-2:]] == [
        "user",
        "assistant",
    ]


def test_trouble_of_a_closed_database_does_not_end_the_chat(
    chat: Chat, database: Database, tmp_path: Path
) -> None:
    load(chat, tmp_path)
    database.close()
    events = list(say(chat))
    assert [notice.code for notice in notices(events)] == ["storage"]
    assert last(chat).content == "one two three"


def test_trouble_of_a_session_that_was_deleted_elsewhere_keeps_the_turn_in_memory(
    chat: Chat, database: Database, path: Path, tmp_path: Path
) -> None:
    load(chat, tmp_path)
    list(say(chat))
    other = Database(path)
    Sessions(other).delete_all()
    other.close()
    events = list(say(chat, "and now"))
    assert [notice.code for notice in notices(events)] == ["storage"]
    assert "there is no session 1" in notices(events)[0].message
    assert last(chat).content == "and now"
    assert stored(path) == []


def test_trouble_with_going_to_another_path_changes_nothing(
    chat: Chat, lock: sqlite3.Connection, tmp_path: Path
) -> None:
    load(chat, tmp_path)
    list(say(chat))
    before = chat.conversation.messages
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusy):
        chat.conversation.go_to(before[0].id)
    lock.execute("ROLLBACK")
    assert chat.conversation.messages == before


def test_after_trouble_the_next_question_is_stored_behind_what_is(
    chat: Chat, lock: sqlite3.Connection, database: Database, tmp_path: Path
) -> None:
    """What was only in memory is still shown, to the person and to the model."""
    load(chat, tmp_path)
    list(say(chat, "stored"))
    lock.execute("BEGIN IMMEDIATE")
    list(say(chat, "lost"))
    lock.execute("ROLLBACK")
    list(say(chat, "again"))
    shown = [message.content for message in chat.conversation.messages]
    assert shown == ["stored", "stored", "lost", "lost", "again", "again"]
    kept = [message.content for message in Sessions(database).messages(1)]
    assert kept == ["stored", "stored", "again", "again"]
