"""A session that was exported and imported is the same one; nothing else is taken in."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ondevice.chat.transfer import from_json, to_json, to_markdown
from ondevice.domain.generation import GenerationDone, Timings, Usage
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.domain.prompt import Attachment
from ondevice.domain.session import Session, SessionTree, StoredMessage
from ondevice.errors import NotASession
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions

WORDS = [
    "rain",
    "Größe",
    "🙂👩‍👩‍👧",
    "\x1b[2J",
    "\0",
    '"quoted"',
    "# head",
    "```",
    "\u202e",
    "<|im_end|>",
]


def random_session(sessions: Sessions, draw: random.Random) -> SessionTree:
    """A stored session of any shape: branches, several beginnings, half answers, numbers, attached
    texts, cuts."""

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randrange(8)))

    session = sessions.create(text(), system_prompt=draw.choice(["", text()]))
    ids = [0]
    for _ in range(draw.randrange(12)):
        after = draw.choice([ids[-1], ids[-1], draw.choice(ids)])
        if draw.random() < 0.5:
            files = tuple(Attachment(text(), text()) for _ in range(draw.choice([0, 0, 1, 2])))
            added = sessions.add(session.id, "user", text(), after=after, attached=files)
            ids.append(added.id)
            continue
        if after and draw.random() < 0.2:
            kept = draw.choice(ids[1:])
            ids.append(sessions.add(session.id, "system", text(), after=after, kept_from=kept).id)
            continue
        row = sessions.add(session.id, "assistant", "", "streaming", draw.choice(WORDS), after)
        usage = Usage(draw.randrange(9999), draw.randrange(99), draw.randrange(999))
        timings = Timings(draw.random(), None, draw.choice([None, draw.random() * 60]))
        ending = draw.choice(["stop", "length", "context_full", "cancelled", "failed"])
        done = GenerationDone(ending, usage, timings, 2, 4096)
        measured = Measured("x", done, MemoryUse(None, None, None), None, ())
        half = ending in ("cancelled", "failed")
        known = measured if draw.random() < 0.9 else None
        sessions.finish(row, text(), "interrupted" if half else "complete", ending, known)
        if known and draw.random() < 0.3:
            sessions.mark_useful(row.id)
        ids.append(row.id)
    sessions.move_head(session.id, draw.choice(ids) or None)
    return sessions.tree(session.id)


def numbered(tree: SessionTree) -> tuple[object, ...]:
    """A tree without the numbers that a database gave it."""
    places: dict[int | None, int] = {m.id: n for n, m in enumerate(tree.messages)}
    messages = [
        replace(
            m,
            id=places[m.id],
            parent_id=places.get(m.parent_id),
            session_id=0,
            kept_from=None if m.kept_from is None else places[m.kept_from],
        )
        for m in tree.messages
    ]
    return replace(tree.session, id=0), messages, places.get(tree.head_id)


def check_round_trips(folder: Path, count: int) -> None:
    draw = random.Random(count)
    here, there = Database(folder / "here.db"), Database(folder / "there.db")
    for number in range(count):
        tree = random_session(Sessions(here), draw)
        document = to_json(tree)
        stored = Sessions(draw.choice([here, there])).restore(from_json(document))
        for database in (here, there):
            if stored in Sessions(database).recent(10_000):
                again = Sessions(database).tree(stored.id)
        assert numbered(again) == numbered(tree), number
        assert to_json(again) == document
        assert to_markdown(again) == to_markdown(tree)
    assert Ledger(there).entries() == []
    here.close()
    there.close()


@pytest.mark.parametrize(
    "count", [pytest.param(40, id="40"), pytest.param(500, id="500", marks=pytest.mark.soak)]
)
def test_export_then_import_gives_the_same_session(count: int, tmp_path: Path) -> None:
    check_round_trips(tmp_path, count)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


def a_tree() -> SessionTree:
    session = Session(3, "A title", "2026-11-24T10:00:00+00:00", "be brief")
    question = StoredMessage(7, 3, "user", "Why?", "complete")
    aside = StoredMessage(8, 3, "user", "Not shown", "complete", parent_id=7)
    answer = StoredMessage(
        9, 3, "assistant", "Because.", "interrupted", "small", 312, 9.8, "cancelled", 7,
        ttft_s=4.1, useful=True,
    )  # fmt: skip
    return SessionTree(session, (question, aside, answer), 9)


def test_markdown_and_json_hold_what_is_attached_and_what_was_cut() -> None:
    tree = a_tree()
    question, aside, answer = tree.messages
    with_file = replace(question, attached=(Attachment("a.txt", "one\n"),))
    cut = StoredMessage(
        10, 3, "system", "(1 turn left out.)", "complete", "ondevice", parent_id=9, kept_from=7
    )
    tree = replace(tree, messages=(with_file, aside, answer, cut), head_id=10)
    assert "## You\n\na.txt:\n```\none\n```\n\nWhy?\n" in to_markdown(tree)
    assert to_markdown(tree).endswith("\n\n## System\n\n(1 turn left out.)\n")
    document = json.loads(to_json(tree))
    assert document["messages"][0]["attached"] == [{"name": "a.txt", "text": "one\n"}]
    assert document["messages"][3]["kept_from"] == 1
    assert "attached" not in document["messages"][2]


def test_markdown_shows_the_path_with_speakers_model_and_numbers() -> None:
    assert to_markdown(a_tree()) == (
        "# A title\n\nBegun 2026-11-24T10:00:00+00:00\n\n## System\n\nbe brief\n\n"
        "## You\n\nWhy?\n\n## small\n\n"
        "*312 tok · 9.8 tok/s · first token 4.1 s · interrupted · useful*\n\nBecause.\n"
    )


def test_json_holds_the_whole_tree_with_numbers_of_its_own() -> None:
    document = json.loads(to_json(a_tree()))
    assert (document["format"], document["version"]) == ("ondevice-session", 1)
    assert [(m["id"], m["parent"], m["content"]) for m in document["messages"]] == [
        (1, None, "Why?"),
        (2, 1, "Not shown"),
        (3, 1, "Because."),
    ]
    assert document["head"] == 3
    assert document["messages"][2]["completion_tokens"] == 312


def test_an_answer_that_is_still_growing_is_exported_as_half_of_one(sessions: Sessions) -> None:
    session = sessions.create("x")
    sessions.add(session.id, "assistant", "so far", "streaming")
    (message,) = from_json(to_json(sessions.tree(session.id))).messages
    assert (message.content, message.state) == ("so far", "interrupted")


def changed(change: Any) -> bytes:
    document = json.loads(to_json(a_tree()))
    change(document)
    return json.dumps(document).encode()


def put(*path: Any, value: Any) -> Any:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


HOSTILE = {
    "nothing": b"",
    "no JSON": b"# A title",
    "another document": b'{"messages": []}',
    "a list": b"[]",
    "not UTF-8": b'{"format": "\xff"}',
    "deep": b"[" * 100_000,
    "deep inside": b'{"format": "ondevice-session", "version": 1, "x": ' + b"[" * 100_000,
    "cut short": to_json(a_tree())[:-30],
    "trailing": to_json(a_tree()) + b"{}",
    "another format": changed(put("format", value="chatgpt")),
    "a later version": changed(put("version", value=2)),
    "an unknown field": changed(put("extra", value=1)),
    "an unknown field of a message": changed(put("messages", 0, "extra", value=1)),
    "a cut that keeps what is not there": changed(put("messages", 2, "kept_from", value=9)),
    "an unknown role": changed(put("messages", 0, "role", value="tool")),
    "an unknown state": changed(put("messages", 0, "state", value="streaming")),
    "text that is a number": changed(put("messages", 0, "content", value=7)),
    "a number below 0": changed(put("messages", 0, "prompt_tokens", value=-1)),
    "a huge number": changed(put("messages", 0, "prompt_tokens", value=10**30)),
    "more tokens than can be added up": changed(put("messages", 0, "prompt_tokens", value=2**53)),
    "half a token": changed(put("messages", 0, "prompt_tokens", value=0.5)),
    "no finite number": changed(put("messages", 0, "ttft_s", value=1)).replace(
        b'"ttft_s": 1', b'"ttft_s": 1e999'
    ),
    "its own parent": changed(put("messages", 0, "parent", value=1)),
    "a circle": changed(put("messages", 0, "parent", value=3)),
    "a parent that is not there": changed(put("messages", 1, "parent", value=99)),
    "one number twice": changed(put("messages", 1, "id", value=1)),
    "number 0": changed(put("messages", 0, "id", value=0)),
    "a head that is not there": changed(put("head", value=99)),
    "no date": changed(put("created_at", value="yesterday")),
    "no title": changed(lambda document: document.pop("title")),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_exported_session_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(NotASession) as caught:
        from_json(data)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.hint


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_is_whole(data: st.DataObject) -> None:
    document = bytearray(to_json(a_tree()))
    for _ in range(data.draw(st.integers(1, 4))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        tree = from_json(bytes(document))
    except NotASession:
        return
    assert numbered(from_json(to_json(tree))) == numbered(tree)


def long_session(tokens: int) -> SessionTree:
    """More answers than 64 bits hold of 2**53 tokens each."""
    begin = StoredMessage(1, 0, "user", "Why?", "complete")
    answers = [
        StoredMessage(
            number, 0, "assistant", "x", "complete", parent_id=1, completion_tokens=tokens
        )
        for number in range(2, 1032)
    ]
    session = Session(0, "Long", "2026-11-24T10:00:00+00:00")
    return SessionTree(session, (begin, *answers), 2)


def test_the_most_tokens_that_are_taken_in_can_be_listed(sessions: Sessions) -> None:
    sessions.restore(from_json(to_json(long_session(2**31))))
    (listed,) = sessions.listed()
    assert listed.tokens == 1030 * 2**31


def test_a_database_that_took_in_more_is_listed_all_the_same(sessions: Sessions) -> None:
    sessions.restore(long_session(2**53))
    (listed,) = sessions.listed()
    assert listed.tokens == pytest.approx(1030 * 2**53)


def test_text_of_any_kind_is_stored_as_valid_text(sessions: Sessions) -> None:
    data = changed(put("messages", 0, "content", value="a\ud800b"))
    try:
        tree = from_json(data)
    except NotASession:
        return
    session = sessions.restore(tree)
    assert "\ud800" not in sessions.messages(session.id)[0].content


def test_nothing_is_half_imported(path: Path, sessions: Sessions, database: Database) -> None:
    tree = a_tree()
    broken = replace(tree, messages=(*tree.messages, replace(tree.messages[0], role="tool")))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="CHECK constraint"):
        sessions.restore(broken)
    assert sessions.recent() == []
    assert database.rows("SELECT * FROM message") == database.rows("SELECT * FROM answer") == []
