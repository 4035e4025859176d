"""A damaged tree: every message that reads can still be reached, and no number is used twice."""

from __future__ import annotations

from pathlib import Path

from answers import MEASURED
from old import make_version_1
from test_damage import PAGE, damage, root_page

from ondevice.domain.prompt import Attachment
from ondevice.domain.session import StoredMessage
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions


def grow(path: Path) -> dict[int, StoredMessage]:
    """A session of three long paths, shown in the middle; returns its messages by number."""
    database = Database(path)
    sessions = Sessions(database)
    session = sessions.create("a tree")
    for branch in range(3):
        for depth in range(40):
            after = 0 if depth == 0 else None
            text = f"{branch}.{depth} " + "words " * 60
            files = (Attachment(f"{depth}.txt", text),) if depth % 5 == 0 else ()
            sessions.add(session.id, "user", text, after=after, attached=files)
    sessions.move_head(session.id, 60)
    tree = sessions.tree(session.id)
    database.close()
    return {message.id: message for message in tree.messages}


def test_what_reads_is_one_tree_again(tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "ondevice.db"
    before = grow(whole)
    aside = 0
    for page in range(1, whole.stat().st_size // PAGE):
        path = tmp_path / str(page) / "ondevice.db"
        path.parent.mkdir()
        path.write_bytes(whole.read_bytes())
        damage(path, page)
        path.with_name("ondevice.db.damaged").touch()
        database = Database(path)
        sessions = Sessions(database)
        aside += database.set_aside is not None
        for session in sessions.recent():
            tree = sessions.tree(session.id)
            ids = [message.id for message in tree.messages]
            assert tree.head_id in (ids or [None])
            for message in tree.messages:
                sessions.move_head(session.id, message.id)
                assert sessions.messages(session.id)[-1] == message
                assert message.content == before[message.id].content
                assert message.attached == before[message.id].attached
                kept = before[message.id].parent_id in {each.id for each in tree.messages}
                assert message.parent_id == before[message.id].parent_id or not kept
        database.close()
    assert aside > 10


def test_a_damaged_database_of_version_1_is_brought_up_to_date_too(
    path: Path, open_database
) -> None:
    path.parent.mkdir()
    make_version_1(path, messages=200)
    damage(path, 6)
    path.with_name("ondevice.db.damaged").touch()
    database = open_database()
    assert database.set_aside is not None
    (session,) = Sessions(database).recent()
    kept = Sessions(database).messages(session.id)
    assert 100 < len(kept) == database.recovered < 200
    assert [message.parent_id for message in kept] == [None, *(each.id for each in kept)][:-1]
    assert kept[-1].completion_tokens == 7
    assert Ledger(database).entries()[-1].usage.completion_tokens == 7


def test_a_lost_number_is_never_given_to_something_new(path: Path, open_database) -> None:
    """Else the ledger would take the new one for the old one."""
    database = open_database()
    sessions = Sessions(database)
    for _ in range(3):
        answer = sessions.add(sessions.create("x").id, "assistant", "", "streaming", "model")
        sessions.finish(answer, "text", "complete", "stop", MEASURED)
    sessions.delete_all()
    database.close()
    path.with_name("ondevice.db.damaged").touch()
    damage(path, root_page(path, "session"))
    database = open_database()
    assert database.set_aside is not None
    assert len(Ledger(database).entries()) == 3
    sessions = Sessions(database)
    session = sessions.create("new")
    answer = sessions.add(session.id, "assistant", "", "streaming", "model")
    sessions.finish(answer, "text", "complete", "stop", MEASURED)
    assert [entry.session_id for entry in Ledger(database).entries()] == [1, 2, 3, 4]
