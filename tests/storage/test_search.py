"""Words are found wherever they stand, and what a person types is never a command."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ondevice.storage.sessions import Sessions

TEXTS = {
    "Lisbon": ["What should I pack for Lisbon?", "Layers: March is mild there."],
    "Recipe": ["How long do I boil an egg?", "Seven minutes, then cold water."],
    "Café": ["Où est le café?", 'He said "C++ is fine", then NEAR(x).'],
}


@pytest.fixture
def sessions(open_database) -> Sessions:
    sessions = Sessions(open_database())
    for title, texts in TEXTS.items():
        session = sessions.create(title)
        for text in texts:
            sessions.add(session.id, "user", text)
    return sessions


def found(sessions: Sessions, text: str) -> list[str]:
    """What was found: the text of a message, or a title in brackets."""
    hits = sessions.search(text)
    return [hit.message.content if hit.message else f"[{hit.session.title}]" for hit in hits]


def test_what_is_deleted_while_one_looks_is_not_found(path: Path, open_database) -> None:
    database = open_database()
    sessions = Sessions(database)
    session = sessions.create("x")
    sessions.add(session.id, "user", "An egg?")

    def delete_first(statement: str) -> None:
        if statement.startswith("SELECT * FROM session WHERE id"):
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("DELETE FROM session")

    database._connection.set_trace_callback(delete_first)
    assert sessions.search("egg") == []
    database._connection.set_trace_callback(None)
    assert sessions.recent() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("egg", [TEXTS["Recipe"][0]]),
        ("MINUTES cold", [TEXTS["Recipe"][1]]),
        ("how do i boil the egg", [TEXTS["Recipe"][0]]),
        ("minu", [TEXTS["Recipe"][1]]),
        ("minu water", []),
        ("cafe", [TEXTS["Café"][0]]),
        ("lisbon", ["[Lisbon]", TEXTS["Lisbon"][0]]),
        ("ou", [TEXTS["Café"][0]]),
        ('"fine"', [TEXTS["Café"][1]]),
        ("NEAR(x)", [TEXTS["Café"][1]]),
        ("c++", [TEXTS["Café"][1]]),
        ("nowhere", []),
        ("", []),
        (" \n ", []),
        ("***", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_words_are_found_in_one_place(
    text: str, expected: list[str], sessions: Sessions
) -> None:
    assert found(sessions, text) == expected


def test_a_hit_says_where_it_is(sessions: Sessions) -> None:
    long = sessions.create("long")
    added = sessions.add(long.id, "user", "filler " * 500 + "needle " + "filler " * 500)
    (hit,) = sessions.search("needle")
    assert hit.session == long
    assert hit.message == added
    assert "needle" in hit.excerpt
    assert len(hit.excerpt) < 200


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("minutes cold", ["minutes", "cold"]),
        ("EG", ["egg"]),
        ("cafe", ["café"]),
        ("lisbon", ["Lisbon"]),
        ("c++", ["C"]),
    ],
)
def test_a_hit_says_what_in_it_was_found(text: str, marked: list[str], sessions: Sessions) -> None:
    for hit in sessions.search(text):
        found = [hit.excerpt[begin:end] for begin, end in hit.marks]
        assert found == marked or hit.message is None
    assert [hit.excerpt[b:e] for hit in sessions.search("lis") for b, e in hit.marks] == [
        "Lis",
        "Lisbon",
    ]


def test_marks_that_were_written_change_nothing(sessions: Sessions) -> None:
    session = sessions.create("x")
    sessions.add(session.id, "user", "\x03a \x02b needle\x03 \x02")
    (hit,) = sessions.search("needle")
    assert hit.excerpt == "a b needle "
    assert "needle" in [hit.excerpt[begin:end] for begin, end in hit.marks]


def test_other_paths_are_searched_as_well(sessions: Sessions) -> None:
    session = sessions.create("x")
    sessions.add(session.id, "user", "forgotten")
    sessions.add(session.id, "user", "shown", after=0)
    assert found(sessions, "forgotten") == ["forgotten"]


def test_a_growing_answer_is_found_by_what_it_has_now(sessions: Sessions) -> None:
    session = sessions.create("x")
    answer = sessions.add(session.id, "assistant", "", "streaming")
    sessions.save_part(answer.id, "zebra")
    assert found(sessions, "zebra") == ["zebra"]
    sessions.finish(answer, "giraffe", "complete", "stop", None)
    assert found(sessions, "zebra") == []
    assert found(sessions, "giraffe") == ["giraffe"]


def test_there_are_no_more_hits_than_asked_for(sessions: Sessions) -> None:
    session = sessions.create("many many")
    for _ in range(30):
        sessions.add(session.id, "user", "many")
    assert len(sessions.search("many", limit=7)) == 7


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_any_text_is_a_search(text: str, sessions: Sessions) -> None:
    sessions.search(text)
