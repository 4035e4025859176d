"""Branch, edit and another answer are one thing: a path that goes on beside the others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import LONG, last, load, open_chat, say, stored, until_text

from ondevice.chat import Chat, ChatEvent, Conversation, Stored
from ondevice.chat.transfer import from_json, to_json
from ondevice.domain.generation import ChatMessage, Sampling
from ondevice.domain.session import StoredMessage
from ondevice.errors import EngineCrashed, UnknownSession, UsageTrouble
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture(params=["stored", "private"])
def either(request: pytest.FixtureRequest, database: Database) -> Iterator[Chat]:
    """A conversation that is kept, and one that is not: what a person can do is the same."""
    with open_chat(Sessions(database) if request.param == "stored" else None) as chat:
        yield chat


def shown(chat: Chat) -> list[str]:
    return [message.content for message in chat.conversation.messages]


def resend(chat: Chat, question: StoredMessage, text: str) -> Iterator[ChatEvent]:
    return chat.resend(question.id, text, Sampling(), 2000)


def again(chat: Chat, message: StoredMessage) -> Iterator[ChatEvent]:
    return chat.answer_again(message.id, Sampling(), 2000)


class TestAnEditedQuestion:
    @pytest.mark.parametrize("which", [0, 2], ids=["the first", "the second"])
    def test_takes_the_place_of_the_first_which_stays(
        self, which: int, either: Chat, tmp_path: Path
    ) -> None:
        load(either, tmp_path)
        for text in ("one", "two"):
            list(say(either, text))
        before = either.conversation.messages
        list(resend(either, before[which], "other"))
        assert shown(either) == [*["one", "one"][:which], "other", "other"]
        assert [leaf.content for leaf in either.conversation.leaves()] == ["other", "two"]
        either.conversation.go_to(before[-1].id)
        assert either.conversation.messages == before

    def test_is_shown_to_the_model_without_what_followed_the_first(
        self, either: Chat, tmp_path: Path
    ) -> None:
        load(either, tmp_path)
        for text in ("one", "two"):
            list(say(either, text))
        list(resend(either, either.conversation.messages[2], "other"))
        assert either.conversation.prompt().messages == (
            ChatMessage("user", "one"),
            ChatMessage("assistant", "one"),
            ChatMessage("user", "other"),
            ChatMessage("assistant", "other"),
        )

    def test_is_durable_before_the_engine_is_asked(
        self, chat: Chat, path: Path, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        list(say(chat, "one"))
        events = resend(chat, chat.conversation.messages[0], "other")
        assert isinstance(next(events), Stored)
        assert stored(path)[-1] == ("user", "other", "complete")
        assert [m.content for m in Sessions(Database(path)).messages(1)] == ["other"]
        list(events)

    def test_is_no_answer(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        with pytest.raises(UsageTrouble, match="no question"):
            list(resend(either, last(either), "other"))
        assert shown(either) == ["one", "one"]


class TestAnotherAnswer:
    @pytest.mark.parametrize("which", [0, 1], ids=["to the question", "in place of the answer"])
    def test_stands_beside_the_first(self, which: int, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        question, first = either.conversation.messages
        load(either, tmp_path, pieces=["better"])
        events = list(again(either, either.conversation.messages[which]))
        assert [type(event) for event in events].count(Stored) == 1  # no question is stored
        assert shown(either) == ["one", "better"]
        assert last(either).parent_id == first.parent_id == question.id
        assert [leaf.content for leaf in either.conversation.leaves()] == ["better", "one"]
        either.conversation.go_to(first.id)
        assert shown(either) == ["one", "one"]

    def test_is_made_without_seeing_the_first(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        list(again(either, last(either)))
        either.conversation.go_to(last(either).parent_id)
        assert either.conversation.prompt().messages == (ChatMessage("user", "one"),)

    def test_that_is_interrupted_by_a_kill_leaves_the_first_within_reach(
        self, chat: Chat, database: Database, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        list(say(chat, "one"))
        first = last(chat)
        load(chat, tmp_path, **LONG)
        assert chat.info is not None
        events = again(chat, first)
        until_text(events)
        os.kill(chat.info.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed):
            list(events)
        half = last(chat)
        assert (half.state, half.parent_id) == ("interrupted", first.parent_id)
        chat.open(Sessions(database).recent()[0])
        assert last(chat) == half
        assert chat.conversation.leaves() == [half, first]

    def test_needs_a_question(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        with pytest.raises(UnknownSession, match="has no message 5"):
            list(either.answer_again(5, Sampling(), 10))

    def test_can_be_stopped_before_it_begins(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        load(either, tmp_path, **LONG)
        events = again(either, last(either))
        either.cancel()
        list(events)
        assert last(either).finish_reason == "cancelled"


class TestABranch:
    def test_goes_on_from_an_earlier_message(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        for text in ("one", "two", "three"):
            list(say(either, text))
        messages = either.conversation.messages
        either.conversation.go_to(messages[1].id)
        list(say(either, "aside"))
        assert shown(either) == ["one", "one", "aside", "aside"]
        assert last(either) == either.conversation.leaves()[0]
        assert messages[-1] == either.conversation.leaves()[1]

    def test_can_be_a_new_beginning(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        either.conversation.go_to(None)
        assert shown(either) == []
        list(say(either, "two"))
        assert shown(either) == ["two", "two"]
        assert len(either.conversation.leaves()) == 2

    def test_is_what_is_shown_when_the_session_is_opened_again(
        self, chat: Chat, database: Database, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        for text in ("one", "two"):
            list(say(chat, text))
        chat.conversation.go_to(chat.conversation.messages[1].id)
        session = chat.conversation.session
        before = chat.conversation.messages
        chat.open(None)
        chat.open(session)
        assert chat.conversation.messages == before
        assert Sessions(database).messages(1) == before
        assert [leaf.content for leaf in chat.conversation.leaves()] == ["two"]


class TestTheSystemPrompt:
    def test_is_kept_with_the_session(self, chat: Chat, database: Database, tmp_path: Path) -> None:
        load(chat, tmp_path)
        chat.conversation.set_system_prompt("be brief")  # before there is a session
        list(say(chat, "one"))
        assert Sessions(database).recent()[0].system_prompt == "be brief"
        chat.conversation.set_system_prompt("be long")
        assert chat.conversation.system_prompt == "be long"
        assert Sessions(database).recent()[0].system_prompt == "be long"


class TestUseful:
    def test_is_an_answer_that_the_person_marks(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        question, answer = either.conversation.messages
        either.conversation.mark_useful(answer.id)
        assert last(either).useful
        either.conversation.mark_useful(answer.id, False)
        assert last(either) == answer
        with pytest.raises(UsageTrouble, match="no answer"):
            either.conversation.mark_useful(question.id)

    def test_is_kept(self, chat: Chat, database: Database, tmp_path: Path) -> None:
        load(chat, tmp_path)
        list(say(chat, "one"))
        chat.conversation.mark_useful(last(chat).id)
        assert Sessions(database).messages(1) == chat.conversation.messages


class TestAnExport:
    def test_of_any_conversation_holds_all_of_its_paths(
        self, either: Chat, database: Database, tmp_path: Path
    ) -> None:
        load(either, tmp_path)
        either.conversation.set_system_prompt("be brief")
        list(say(either, "one"))
        list(resend(either, either.conversation.messages[0], "other"))
        either.conversation.go_to(either.conversation.leaves()[1].id)
        before = either.conversation.tree
        session = Sessions(database).restore(from_json(to_json(before)))
        after = Conversation(Sessions(database), session).tree
        assert (after.session.title, after.session.system_prompt) == ("one", "be brief")
        assert to_json(after) == to_json(before)


class TestAPrivateConversation:
    def test_leaves_no_file_and_no_row(
        self, chat: Chat, path: Path, database: Database, tmp_path: Path
    ) -> None:
        load(chat, tmp_path)
        list(say(chat, "known"))
        chat.open(None, private=True)
        files, rows = sorted(path.parent.iterdir()), stored(path)
        before = {file: file.read_bytes() for file in files}
        chat.conversation.set_system_prompt("Xylocarp")
        list(say(chat, "Xylocarp"))
        list(resend(chat, chat.conversation.messages[0], "Xylocarp again"))
        list(again(chat, last(chat)))
        chat.conversation.go_to(chat.conversation.messages[0].id)
        assert chat.conversation.session is None
        assert len(chat.conversation.leaves()) == 3
        assert stored(path) == rows
        assert len(database.rows("SELECT * FROM answer")) == 1
        assert {file: file.read_bytes() for file in files} == before
        assert sorted(path.parent.iterdir()) == files

    def test_is_followed_by_one_that_is_kept(self, chat: Chat, path: Path, tmp_path: Path) -> None:
        load(chat, tmp_path)
        chat.open(None, private=True)
        list(say(chat, "private"))
        chat.open(None)
        list(say(chat, "kept"))
        assert [content for _, content, _ in stored(path)] == ["kept", "kept"]


class TestWhatStandsBeside:
    def test_a_message_is_every_other_in_its_place_the_oldest_first(
        self, either: Chat, tmp_path: Path
    ) -> None:
        load(either, tmp_path)
        list(say(either, "one"))
        question, answer = either.conversation.messages
        list(again(either, answer))
        second = last(either)
        list(resend(either, question, "other"))
        other = either.conversation.messages[0]
        assert either.conversation.beside(second) == [answer, second]
        assert either.conversation.beside(question) == [question, other]
        assert either.conversation.beside(last(either)) == [last(either)]

    def test_leads_to_the_end_of_its_newest_path(self, either: Chat, tmp_path: Path) -> None:
        load(either, tmp_path)
        for text in ("one", "two"):
            list(say(either, text))
        first, *_ = before = either.conversation.messages
        list(resend(either, before[2], "instead"))
        newest = last(either)
        list(resend(either, first, "other"))
        assert either.conversation.end_below(first.id) == newest.id
        assert either.conversation.end_below(before[3].id) == before[3].id
