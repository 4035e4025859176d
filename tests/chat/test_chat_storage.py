"""A chat whose storing is refused goes on in memory and says so once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import last, load, notices, say, stored, until_text

from ondevice.chat import Chat, Stored
from ondevice.domain.generation import EngineNotice
from ondevice.storage.database import Database


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
