"""A damaged file is set aside, what reads of it is kept, and nothing is deleted."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from other_process import go_on, heard, outcome

from ondevice.domain.session import StoredMessage
from ondevice.errors import DatabaseUnusable
from ondevice.storage import recovery
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

PAGE = 4096
MESSAGES = 120
GARBAGE = bytes(range(7, 247)) * 20


def fill(path: Path) -> list[str]:
    """Three sessions with long messages; returns their contents in the order of ids."""
    database = Database(path)
    sessions = Sessions(database)
    ids = [sessions.create(f"session {number}").id for number in range(3)]
    contents = [f"{number:04d} " + "words " * 60 for number in range(MESSAGES)]
    for number, content in enumerate(contents):
        sessions.add(ids[number % 3], "user", content)
    database.close()
    return contents


def damage(path: Path, page: int) -> bytes:
    """Overwrite one page, counted from 0; returns the whole file as it is now."""
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(GARBAGE[:PAGE])
    return path.read_bytes()


def all_messages(database: Database) -> list[StoredMessage]:
    sessions = Sessions(database)
    found = [m for session in sessions.recent() for m in sessions.messages(session.id)]
    return sorted(found, key=lambda message: message.id)


@pytest.mark.parametrize(
    "content",
    [b"not a database at all", b"\0" * 9000, GARBAGE * 10],
    ids=["short", "zeros", "garbage"],
)
def test_a_file_that_is_no_database_is_set_aside(content: bytes, path: Path, open_database) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    database = open_database()
    assert database.set_aside is not None
    assert database.set_aside.read_bytes() == content
    assert database.set_aside.name.startswith("ondevice.db.corrupt-")
    assert database.recovered == 0
    Sessions(database).create("it goes on")
    database.close()
    again = open_database()
    assert again.set_aside is None
    assert [session.title for session in Sessions(again).recent()] == ["it goes on"]


def test_what_only_its_log_holds_is_not_lost_with_it(path: Path, tmp_path: Path) -> None:
    """A log left beside a new database would be replayed into it."""
    source = tmp_path / "source" / "ondevice.db"
    fill(source)
    database = Database(source)
    Sessions(database).save_part(1, "only in the log")
    path.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{source}{suffix}", f"{path}{suffix}")
    database.close()
    damage(path, 0)
    kept = Database(path)
    assert kept.set_aside is not None
    assert all_messages(kept) == []
    kept.close()
    aside = b"".join(part.read_bytes() for part in path.parent.glob("*.corrupt-*"))
    assert b"only in the log" in aside


def test_a_damaged_header_that_the_log_has_whole_is_no_damage(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "source" / "ondevice.db"
    fill(source)
    database = Database(source)
    for number in range(20):  # the file grows, so the log holds its first page
        Sessions(database).add(1, "user", f"late {number}")
    path.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{source}{suffix}", f"{path}{suffix}")
    database.close()
    damage(path, 0)
    kept = Database(path)
    assert kept.set_aside is None
    assert len(all_messages(kept)) == MESSAGES + 20
    kept.close()


def test_damage_inside_is_named_when_met_and_mended_at_the_next_opening(
    path: Path, open_database
) -> None:
    contents = fill(path)
    damaged = damage(path, path.stat().st_size // PAGE // 2)
    database = open_database()
    assert database.set_aside is None  # found when it is met
    with pytest.raises(DatabaseUnusable, match="damaged") as caught:
        all_messages(database)
    assert "set aside" in caught.value.hint
    database.close()
    again = open_database()
    assert again.set_aside is not None
    assert again.set_aside.read_bytes() == damaged
    kept = all_messages(again)
    assert MESSAGES * 0.8 < again.recovered == len(kept) < MESSAGES
    assert all(message.content == contents[message.id - 1] for message in kept)
    again.close()
    assert open_database().set_aside is None


def test_whichever_page_is_damaged_two_openings_lead_to_a_database(tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "ondevice.db"
    contents = fill(whole)
    for page in range(whole.stat().st_size // PAGE):
        path = tmp_path / f"page {page}" / "ondevice.db"
        path.parent.mkdir()
        path.write_bytes(whole.read_bytes())
        damaged = damage(path, page)
        kept, aside = open_and_read(path)
        assert all(message.content == contents[message.id - 1] for message in kept)
        if aside is None:
            assert len(kept) == MESSAGES  # a page that nothing needed, such as a free one
        else:
            assert aside.read_bytes() == damaged
        assert len(kept) > MESSAGES * 0.8 or page in (0, root_page(whole, "message"))


def page_of(path: Path, content: str) -> int:
    """The page that holds a message, counted from 0."""
    return path.read_bytes().index(f"user{content}".encode()) // PAGE


def give_rowid(path: Path, content: str, rowid: int) -> None:
    """Make the id of a message another one, of a single byte: it stands before its columns."""
    data = bytearray(path.read_bytes())
    base, at = page_of(path, content) * PAGE, data.index(f"user{content}".encode())
    ends = range(base + 8, base + 8 + 2 * int.from_bytes(data[base + 3 : base + 5]), 2)
    cells = [base + int.from_bytes(data[end : end + 2]) for end in ends]
    cell = max(each for each in cells if each < at)  # two bytes of its size come first
    assert data[cell + 2] == int(content[:4]) + 1
    data[cell + 2] = rowid
    path.write_bytes(data)


def ids_on(path: Path, page: int) -> set[int]:
    """Of the messages that stand on it."""
    data = path.read_bytes()[page * PAGE : (page + 1) * PAGE]
    return {number + 1 for number in range(MESSAGES) if f"user{number:04d} ".encode() in data}


@pytest.mark.parametrize(
    ("number", "rowid"), [(39, 39), (39, 2), (5, 127)], ids=["", "a low id", "a high id"]
)
def test_of_a_lost_page_only_what_stood_on_it_is_lost(
    number: int, rowid: int, path: Path, open_database
) -> None:
    """Also where the id of a message, the last but one before or a far one, is damaged, too."""
    contents = fill(path)
    lost = page_of(path, contents[40])
    gone = ids_on(path, lost)
    assert min(gone) == 41
    if rowid != number:
        give_rowid(path, contents[number - 1], rowid)
        gone.add(number)
    damage(path, lost)
    path.with_name("ondevice.db.damaged").touch()
    database = open_database()
    kept = {row[0] for row in database.rows("SELECT id FROM message")}
    assert kept - {127} == set(range(1, MESSAGES + 1)) - gone
    assert database.recovered == len(kept)


def open_and_read(path: Path) -> tuple[list[StoredMessage], Path | None]:
    """What reads at the first or, after damage was met, at the second opening."""
    for _ in range(2):
        database = None
        try:
            database = Database(path)
            return all_messages(database), database.set_aside
        except DatabaseUnusable:
            assert path.with_name("ondevice.db.damaged").exists()
        finally:
            if database is not None:
                database.close()
    pytest.fail("damage was met twice")


def root_page(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    (number,) = connection.execute(query, (table,)).fetchone()
    connection.close()
    return int(number) - 1


def test_a_mark_of_damage_without_damage_only_costs_a_check(path: Path, open_database) -> None:
    fill(path)
    mark = path.with_name("ondevice.db.damaged")
    mark.touch()
    database = open_database()
    assert database.set_aside is None
    assert len(all_messages(database)) == MESSAGES
    assert not mark.exists()


def test_messages_of_a_lost_session_get_one(path: Path, open_database) -> None:
    contents = fill(path)
    damage(path, root_page(path, "session"))
    path.with_name("ondevice.db.damaged").touch()
    database = open_database()
    assert {session.title for session in Sessions(database).recent()} == {"Recovered conversation"}
    assert [message.content for message in all_messages(database)] == contents


@pytest.mark.parametrize("keep", [0.5, 0.05, 0.97], ids=str)
def test_a_truncated_file_leads_to_a_database(path: Path, keep: float) -> None:
    contents = fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    kept, aside = open_and_read(path)
    assert aside is not None
    assert aside.read_bytes() == whole[: int(len(whole) * keep)]
    assert all(message.content == contents[message.id - 1] for message in kept)


def test_damage_of_the_text_index_is_met_by_the_next_message_and_mended(
    path: Path, open_database
) -> None:
    contents = fill(path)
    damage(path, root_page(path, "found_in_data"))
    database = open_database()
    with pytest.raises(DatabaseUnusable, match="damaged"):
        Sessions(database).add(1, "user", "the next")
    database.close()
    again = open_database()
    assert again.set_aside is not None
    assert [message.content for message in all_messages(again)] == contents
    assert len(Sessions(again).search("words", limit=1000)) == MESSAGES


def test_a_text_index_that_is_wrong_inside_whole_pages_is_made_anew(
    path: Path, open_database
) -> None:
    """No check of SQLite's sees it, so the database is not set aside."""
    fill(path)
    database = open_database()
    with database.transaction() as connection:
        connection.execute("UPDATE found_in_data SET block = zeroblob(20) WHERE id > 10")
    database.close()
    database = open_database()
    with pytest.raises(DatabaseUnusable, match="damaged"):
        Sessions(database).search("words")
    database.close()
    again = open_database()
    assert again.set_aside is None
    assert len(Sessions(again).search("words", limit=1000)) == MESSAGES


class TestWhoHasItOpenMeanwhile:
    """What it writes into the file that was moved would never be seen again."""

    WRITER = """
database = Database(path)
sessions = Sessions(database)
sessions.add(1, "user", "before")
say("open")
wait()
try:
    sessions.add(1, "user", "lost from view")
except StorageTrouble as error:
    say(type(error).__name__, "|", error.message)
say("reads", sessions.get(1).title)
database.close()
say(Sessions(Database(path)).add(1, "user", "after").content)
"""
    IN_THE_MIDDLE = """
try:
    with Database(path).transaction() as connection:
        connection.execute("UPDATE session SET title = 'lost from view'")
        say("open")
        wait()
except StorageTrouble as error:
    say(type(error).__name__, "|", error.message)
"""
    REFUSED = "DatabaseUnusable | {} was set aside as damaged by another process, or moved"

    def test_is_told_and_its_end_does_no_harm(
        self, path: Path, open_database, another_process
    ) -> None:
        fill(path)
        writer = another_process(self.WRITER)
        assert heard(writer) == "open"
        meet_damage(path)
        database = open_database()
        assert database.recovered > MESSAGES * 0.8
        Sessions(database).add(2, "user", "in the log of the new one")
        go_on(writer)
        assert outcome(writer) == [self.REFUSED.format(path), "reads session 0", "after"]
        contents = [message.content for message in all_messages(open_database())]
        assert {"before", "in the log of the new one", "after"} <= set(contents)
        assert "lost from view" not in contents

    def test_is_told_before_the_new_one_is_there(self, path: Path, another_process) -> None:
        fill(path)
        writer = another_process(self.WRITER)
        assert heard(writer) == "open"
        meet_damage(path)
        recovery.set_aside(path)
        go_on(writer)
        assert outcome(writer) == [self.REFUSED.format(path), "reads session 0", "after"]

    def test_is_told_in_the_middle_of_a_transaction(
        self, path: Path, open_database, another_process
    ) -> None:
        fill(path)
        writer = another_process(self.IN_THE_MIDDLE)
        assert heard(writer) == "open"
        meet_damage(path)
        database = open_database()
        assert database.set_aside is not None
        go_on(writer)
        assert outcome(writer) == [self.REFUSED.format(path)]
        titles = {session.title for session in Sessions(database).recent()}
        assert "lost from view" not in titles


def meet_damage(path: Path) -> None:
    """Damage in the middle, as it is marked by whoever met it."""
    damage(path, path.stat().st_size // PAGE // 2)
    path.with_name("ondevice.db.damaged").touch()
