"""What is done with kept sessions reaches the open one, and goes nowhere it should not."""

from __future__ import annotations

import json
import resource
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chatting import load, open_chat, say

from ondevice.chat import Chat, Keeping, transfer
from ondevice.errors import NotASession, StorageTrouble, UsageTrouble
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
def chat(sessions: Sessions) -> Iterator[Chat]:
    with open_chat(sessions) as chat:
        yield chat


@pytest.fixture
def keeping(sessions: Sessions, chat: Chat) -> Keeping:
    return Keeping(sessions, chat)


class TestTheOpenSession:
    @pytest.fixture(autouse=True)
    def asked(self, chat: Chat, tmp_path: Path) -> int:
        load(chat, tmp_path)
        list(say(chat))
        assert chat.conversation.session is not None
        return chat.conversation.session.id

    def test_is_called_by_its_new_title(self, chat: Chat, keeping: Keeping, asked: int) -> None:
        keeping.rename(asked, "Lisbon")
        assert chat.conversation.session is not None
        assert chat.conversation.session.title == "Lisbon"
        assert [each.session.title for each in keeping.listed()] == ["Lisbon"]

    @pytest.mark.parametrize("by_number", [True, False])
    def test_goes_on_with_its_new_system_prompt(
        self, chat: Chat, keeping: Keeping, sessions: Sessions, asked: int, by_number: bool
    ) -> None:
        keeping.set_system_prompt(asked if by_number else None, "Be brief.")
        assert chat.conversation.system_prompt == "Be brief."
        assert sessions.get(asked).system_prompt == "Be brief."

    @pytest.mark.parametrize("everything", [True, False])
    def test_that_is_deleted_is_open_no_more(
        self, chat: Chat, keeping: Keeping, sessions: Sessions, asked: int, everything: bool
    ) -> None:
        if everything:
            keeping.delete_all()
        else:
            keeping.delete([asked])
        assert chat.conversation.messages == []
        assert sessions.recent() == []
        list(say(chat, "anew"))
        assert [each.session.title for each in keeping.listed()] == ["anew"]

    def test_stays_open_when_another_is_deleted(
        self, chat: Chat, keeping: Keeping, sessions: Sessions, asked: int
    ) -> None:
        other = sessions.create("other")
        keeping.set_system_prompt(other.id, "Be long.")
        keeping.rename(other.id, "another")
        assert (chat.conversation.system_prompt, keeping.open_id) == ("", asked)
        keeping.delete([other.id])
        assert keeping.open_id == asked
        assert len(chat.conversation.messages) == 2


class TestAFile:
    @pytest.mark.parametrize("form", ["md", "json"])
    def test_is_named_after_the_title_and_replaces_none(
        self, keeping: Keeping, sessions: Sessions, tmp_path: Path, form: str
    ) -> None:
        session = sessions.create("../What if: A/B?")
        (tmp_path / f"what-if-a-b-2.{form}").symlink_to(tmp_path / "nowhere")
        paths = [keeping.export(session.id, form, tmp_path) for _ in range(2)]
        assert [path.name for path in paths] == [f"what-if-a-b.{form}", f"what-if-a-b-3.{form}"]
        assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
        assert not (tmp_path / "nowhere").exists()

    def test_of_a_private_conversation_is_written_when_asked_for(
        self, chat: Chat, keeping: Keeping, tmp_path: Path
    ) -> None:
        chat.open(None, private=True)
        load(chat, tmp_path)
        list(say(chat, "hush"))
        assert not keeping.is_kept
        path = keeping.export(None, "json", tmp_path)
        assert [each["content"] for each in json.loads(path.read_text())["messages"]] == [
            "hush",
            "hush",
        ]
        assert keeping.listed() == []

    def test_is_taken_in_as_it_was(
        self, keeping: Keeping, sessions: Sessions, tmp_path: Path
    ) -> None:
        session = sessions.create("Lisbon", "Be brief.")
        sessions.add(session.id, "user", "Rain?")
        path = keeping.export(session.id, "json", tmp_path)
        again = keeping.take_in(path)
        assert (again.title, again.system_prompt) == ("Lisbon", "Be brief.")
        assert [each.content for each in sessions.messages(again.id)] == ["Rain?"]

    def test_takes_the_place_of_no_file_and_leaves_no_half_of_one(
        self, keeping: Keeping, tmp_path: Path
    ) -> None:
        folder = tmp_path / "exports"
        folder.mkdir()
        first = keeping.export(None, "md", folder)
        second = keeping.export(None, "md", folder)
        assert {stat.S_IMODE(each.stat().st_mode) for each in (first, second)} == {0o600}
        with pytest.raises(UsageTrouble, match="is there already"):
            transfer.write(first, b"another", hint="Give another name.")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            for path, replace in ((folder / "new", False), (second, True)):
                with pytest.raises(UsageTrouble, match="cannot be written: File too large"):
                    transfer.write(path, bytes(5000), "Give another name.", replace)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted(folder.iterdir()) == sorted([first, second])
        assert first.read_bytes() == second.read_bytes() != b""

    def test_that_cannot_be_read_is_refused(self, keeping: Keeping, tmp_path: Path) -> None:
        with pytest.raises(UsageTrouble, match="cannot be read"):
            keeping.take_in(tmp_path / "missing.json")
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(NotASession):
            keeping.take_in(tmp_path / "other.json")
        with pytest.raises(UsageTrouble, match="cannot be written"):
            keeping.export(None, "md", tmp_path / "missing")
        assert keeping.listed() == []


def test_where_nothing_is_kept_the_open_conversation_can_be_told_all_the_same(
    tmp_path: Path,
) -> None:
    with open_chat(None) as chat:
        keeping = Keeping(None, chat)
        keeping.set_system_prompt(None, "Be brief.")
        assert chat.conversation.system_prompt == "Be brief."
        assert (keeping.listed(), keeping.search("x"), keeping.open_id) == ([], [], None)
        with pytest.raises(StorageTrouble):
            keeping.delete_all()


def test_a_list_says_what_there_is_of_each(
    chat: Chat, keeping: Keeping, sessions: Sessions, path: Path, tmp_path: Path
) -> None:
    load(chat, tmp_path)
    list(say(chat, "one two three"))
    list(say(chat, "four"))
    never = sessions.create("never asked")
    with closing(Database(path)) as other:
        newest, oldest = Sessions(other).listed()
    assert (newest.messages, newest.tokens, newest.model) == (4, 4, "echo")
    assert newest.used_at >= newest.session.created_at
    assert (oldest.session, oldest.messages, oldest.model) == (never, 0, "")
    assert oldest.used_at == never.created_at
