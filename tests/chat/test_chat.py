"""A turn is kept: the question before anything is computed, the answer however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import LONG, last, load, notices, open_chat, say, stored, until_text

from ondevice.chat import Chat, Conversation, Stored
from ondevice.domain.generation import ChatMessage, GenerationDone, PrefillProgress, TextDelta
from ondevice.domain.measured import Measured
from ondevice.errors import EngineClosed, EngineCrashed, EngineTrouble
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def unsaved_chat() -> Iterator[Chat]:
    with open_chat(None) as chat:
        yield chat


class TestATurn:
    def test_goes_question_prompt_text_numbers_answer(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path)
        events = list(say(chat))
        kinds = [type(event) for event in events]
        assert kinds[:2] == [Stored, PrefillProgress]
        assert kinds[-3:] == [GenerationDone, Measured, Stored]
        assert set(kinds[2:-3]) == {PrefillProgress, TextDelta}

    def test_question_is_durable_before_the_engine_is_asked(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        events = say(chat)
        first = next(events)
        assert isinstance(first, Stored)
        assert first.message.content == "one two three"
        assert stored(path) == [("user", "one two three", "complete")]
        assert isinstance(next(events), PrefillProgress)
        list(events)

    def test_answer_is_stored_whole_with_its_numbers(
        self, chat: Chat, path: Path, database: Database, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, delay_s=0.01)
        events = list(say(chat))
        assert isinstance(events[-1], Stored)
        answer = events[-1].message
        assert stored(path)[-1] == ("assistant", "one two three", "complete")
        assert (answer.finish_reason, answer.completion_tokens) == ("stop", 3)
        assert answer.decode_tok_per_s is not None
        assert answer.model == "echo"
        (row,) = database.rows("SELECT * FROM answer")
        assert (row["baseline"], row["usd"]) == ("test", "0.0000012")
        assert Sessions(database).messages(answer.session_id)[-1] == answer

    def test_numbers_of_random_weights_have_no_cost(
        self, chat: Chat, database: Database, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, random_weights=True)
        measured = [event for event in say(chat) if isinstance(event, Measured)]
        assert [event.cost for event in measured] == [None]
        (row,) = database.rows("SELECT * FROM answer")
        assert (row["baseline"], row["usd"]) == ("", None)

    def test_without_a_model_says_so(self, chat: Chat, path: Path) -> None:
        with pytest.raises(EngineClosed, match="no model is loaded"):
            next(say(chat))
        assert stored(path) == []


class TestAnInterruptedAnswer:
    def test_keeps_what_there_is_when_it_is_cancelled(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, **LONG)
        events = say(chat)
        until_text(events)
        chat.cancel()
        rest = list(events)
        assert isinstance(rest[-1], Stored)
        answer = rest[-1].message
        assert (answer.state, answer.finish_reason) == ("interrupted", "cancelled")
        assert answer.completion_tokens == answer.content.count("word ") > 0
        assert stored(path)[-1] == ("assistant", answer.content, "interrupted")

    def test_keeps_what_there_is_when_nobody_looks_any_more(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, **LONG)
        events = say(chat)
        seen = "".join(e.text for e in until_text(events) if isinstance(e, TextDelta))
        events.close()  # type: ignore[attr-defined]
        assert stored(path)[-1] == ("assistant", seen, "interrupted")
        assert (last(chat).content, last(chat).state) == (seen, "interrupted")
        again = say(chat, "again")
        until_text(again)  # the engine is free
        chat.cancel()
        assert isinstance(list(again)[-1], Stored)

    def test_is_whole_if_nobody_looks_after_the_numbers(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        events = say(chat)
        next(event for event in events if isinstance(event, Measured))
        events.close()  # type: ignore[attr-defined]
        assert stored(path)[-1] == ("assistant", "one two three", "complete")

    def test_keeps_what_there_is_when_the_engine_is_killed(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, **LONG)
        assert chat.info is not None
        events = say(chat)
        seen = until_text(events)
        os.kill(chat.info.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            seen.extend(events)
        shown = "".join(event.text for event in seen if isinstance(event, TextDelta))
        assert stored(path)[-1][0] == "assistant"
        assert stored(path)[-1][1].startswith(shown)
        assert stored(path)[-1][2] == "interrupted"
        assert last(chat).finish_reason == "failed"

    def test_of_a_killed_engine_is_followed_by_the_next_after_loading(
        self, chat: Chat, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, pieces=["half", "x"], signal_at=1, delay_s=0.2)
        with pytest.raises(EngineCrashed):
            list(say(chat))
        assert chat.info is None
        with pytest.raises(EngineClosed):
            next(say(chat))
        load(chat, tmp_path)
        list(say(chat, "and now"))
        contents = [message.content for message in chat.conversation.messages]
        assert contents == ["one two three", "half", "and now", "and now"]

    def test_of_a_closed_engine_leaves_no_model_that_seems_loaded(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, **LONG)
        events = say(chat)
        until_text(events)
        assert chat._served.engine is not None
        chat._served.engine.close()
        with pytest.raises(EngineClosed, match="closed meanwhile"):
            list(events)
        assert chat.info is None
        assert stored(path)[-1][2] == "interrupted"

    def test_of_an_engine_that_fails_is_kept_with_the_reason(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, pieces=["half", "x"], fail_at=1)
        with pytest.raises(EngineTrouble, match="asked for a failure"):
            list(say(chat))
        assert stored(path)[-1] == ("assistant", "half", "interrupted")

    def test_grows_on_the_disk_while_it_is_made(
        self, chat: Chat, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ondevice.chat.answer.SAVE_EVERY_S", 0.0)
        load(chat, tmp_path, **LONG)
        events = say(chat)
        seen = "".join(e.text for e in until_text(events) if isinstance(e, TextDelta))
        assert stored(path)[-1] == ("assistant", seen, "streaming")
        chat.cancel()
        list(events)


class TestTheConversation:
    def test_is_shown_to_the_model_in_full(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path)
        list(say(chat, "first"))
        list(say(chat, "second"))
        assert chat.conversation.prompt("be brief").messages == (
            ChatMessage("system", "be brief"),
            ChatMessage("user", "first"),
            ChatMessage("assistant", "first"),
            ChatMessage("user", "second"),
            ChatMessage("assistant", "second"),
        )

    def test_joins_questions_that_got_no_answer(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path, pieces=["x"], fail_at=0)
        for text in ("first", "second"):
            with pytest.raises(EngineTrouble):
                list(say(chat, text))
        assert chat.conversation.prompt().messages == (ChatMessage("user", "first\n\nsecond"),)

    def test_goes_on_where_it_was(self, chat: Chat, database: Database, tmp_path: Path) -> None:
        load(chat, tmp_path)
        list(say(chat, "first"))
        session = chat.conversation.session
        before = chat.conversation.messages
        chat.open(None)
        assert chat.conversation.messages == []
        chat.open(session)
        assert chat.conversation.messages == before
        list(say(chat, "second"))
        assert len(Sessions(database).recent()) == 1

    def test_uses_the_system_prompt_of_its_session(self, chat: Chat, database: Database) -> None:
        session = Sessions(database).create("a", system_prompt="be brief")
        conversation = Conversation(Sessions(database), session)
        assert conversation.prompt(session.system_prompt).messages[0].role == "system"

    def test_without_sessions_is_kept_in_memory_only(
        self, unsaved_chat: Chat, tmp_path: Path
    ) -> None:
        load(unsaved_chat, tmp_path)
        events = list(say(unsaved_chat))
        assert notices(events) == []
        answer = last(unsaved_chat)
        assert (answer.content, answer.state, answer.completion_tokens) == (
            "one two three",
            "complete",
            3,
        )
        assert unsaved_chat.conversation.session is None
        assert [entry.suffix for entry in tmp_path.iterdir()] == [".json"]
