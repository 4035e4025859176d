"""A file that a question names is read by the model, and kept with the question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import last, load, open_chat, say, stored

from ondevice.chat import Chat
from ondevice.chat.transfer import from_json, to_json
from ondevice.domain.generation import GREEDY, Attachment, ChatMessage, LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.errors import EngineTrouble, NotAttached
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

NOTES = Attachment("notes.txt", "Rivers are long.\n" * 20)
ASKED = "What is @notes.txt about?"


@pytest.fixture
def with_files(chat: Chat, tmp_path: Path) -> Chat:
    chat.folder = tmp_path / "work"
    chat.folder.mkdir()
    (chat.folder / NOTES.name).write_text(NOTES.text)
    load(chat, tmp_path)
    return chat


@pytest.fixture
def real(either_file: ModelFile, tmp_path: Path) -> Iterator[Chat]:
    """The starter model in a folder with a file; nothing is stored."""
    (tmp_path / NOTES.name).write_text(NOTES.text)
    with open_chat(None) as chat:
        chat.folder = tmp_path
        chat.load(either_file, LoadOptions(n_ctx=1024))
        yield chat


def test_a_file_is_stored_with_its_question_and_given_to_the_model(
    with_files: Chat, database: Database
) -> None:
    list(say(with_files, ASKED))
    (message, _) = with_files.conversation.messages
    assert (message.content, message.attached) == (ASKED, (NOTES,))
    assert with_files.conversation.prompt().messages[0] == ChatMessage("user", ASKED, (NOTES,))
    assert Sessions(database).messages(message.session_id)[0] == message
    (with_files.folder / NOTES.name).unlink()
    with_files.open(with_files.conversation.session)
    assert with_files.conversation.messages[0] == message


def test_the_file_is_in_the_export_and_comes_back_with_it(
    with_files: Chat, database: Database
) -> None:
    list(say(with_files, ASKED))
    document = to_json(with_files.conversation.tree)
    again = Sessions(database).restore(from_json(document))
    assert Sessions(database).messages(again.id)[0].attached == (NOTES,)


def test_a_missing_file_is_an_error_and_the_question_was_not_taken(
    with_files: Chat, path: Path
) -> None:
    with pytest.raises(
        NotAttached, match=r"^missing\.txt cannot be attached: there is no such file"
    ):
        list(say(with_files, "What is in @missing.txt?"))
    assert with_files.conversation.is_new
    assert stored(path) == []
    list(say(with_files, "an address: me@example.com"))
    assert with_files.conversation.messages[0].attached == ()


def test_an_edited_question_has_the_files_it_names_now(with_files: Chat) -> None:
    list(say(with_files, ASKED))
    first = with_files.conversation.messages[0]
    (with_files.folder / NOTES.name).write_text("Bread.")
    list(with_files.resend(first.id, "And @notes.txt now?", Sampling(), 10))
    assert with_files.conversation.messages[0].attached == (Attachment("notes.txt", "Bread."),)
    list(with_files.answer_again(last(with_files).id, Sampling(), 10))
    assert with_files.conversation.messages[0].attached == (Attachment("notes.txt", "Bread."),)


def test_files_of_questions_that_got_no_answer_stay_with_them(
    with_files: Chat, tmp_path: Path
) -> None:
    load(with_files, tmp_path, pieces=["x"], fail_at=0)
    for text in (ASKED, "And this?"):
        with pytest.raises(EngineTrouble):
            list(say(with_files, text))
    assert with_files.conversation.prompt().messages == (
        ChatMessage("user", f"{ASKED}\n\nAnd this?", (NOTES,)),
    )


def test_what_a_file_costs_is_told_before_it_is_sent(real: Chat) -> None:
    before = real.count(ASKED)
    assert real.conversation.is_new
    assert before.prompt.attached > 50
    list(real.send(ASKED, GREEDY, 4))
    assert last(real).prompt_tokens == before.used
    assert real.count("And @notes.txt again?").prompt.attached > before.prompt.attached
    with pytest.raises(NotAttached):
        real.count("And @missing.txt?")


def test_a_file_is_not_read_again_for_the_next_question(real: Chat) -> None:
    list(real.send(ASKED, GREEDY, 4))
    read = last(real).prompt_tokens
    list(real.send("And who wrote it?", GREEDY, 4))
    assert last(real).cached_tokens >= read
