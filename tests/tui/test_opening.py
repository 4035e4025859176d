"""Opening a session: the screen goes on meanwhile, and what is on it is what is open."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from kept_sessions import PausingChat, held, keep, look
from rich.cells import cached_cell_len
from stage import Person, Stage
from textual._styles_cache import StylesCache
from textual.geometry import Region
from textual.widgets import DataTable

from ondevice.domain.session import Session
from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.conversation import Conversation

MakeStage = Callable[..., Stage]
RAINY, BOILED = ("Rain?", "Perhaps."), ("Eggs?", "Ten minutes.")
RAIN, EGGS = (list(zip(("You", "small"), said, strict=True)) for said in (RAINY, BOILED))


def contents(stage: Stage, session: Session) -> list[str]:
    return [message.content for message in stage.sessions.messages(session.id)]


def title(person: Person) -> str:
    return str(person.app.chat_screen.query_one(Conversation).border_title)


async def chosen(person: Person, session: Session) -> None:
    """With the cursor on it."""
    table = person.screen.query_one(DataTable)
    await person.until(lambda: str(session.id) in table.rows)
    table.move_cursor(row=table.get_row_index(str(session.id)))


async def opened(person: Person, session: Session, said: list[tuple[str, str]]) -> None:
    person.app.chat_screen.open(Wanted(session))
    await person.until(lambda: person.bubbles() == said and not person.busy)


async def test_the_screen_does_not_wait_and_a_question_waits_for_the_session(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    rain = keep(stage, "Rain?", *RAINY)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await chosen(person, rain)
        with held(stage):
            await person.press("enter")
            await person.until(lambda: person.screen is stage.app.chat_screen)
            assert title(person) == "Opening …"
            await person.write("next")
            await person.press("enter")
            await person.until(lambda: person.composer.text == "")
            await person.press("f8")
            assert "What came before is not done yet." in person.notices()[-1]
            assert person.bubbles() == []
        asked = [("You", "next"), ("echo-model", "yes")]
        await person.until(lambda: person.bubbles() == RAIN + asked and not person.busy)
        assert title(person) == "Rain?"
        assert contents(stage, rain) == ["Rain?", "Perhaps.", "next", "yes"]


async def test_a_new_session_waits_for_what_is_stored_and_takes_what_is_sent_meanwhile(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ondevice.chat.answer.SAVE_EVERY_S", 600.0)
    stage = make_stage(make_chat=PausingChat, pieces=["word "], repeat=10)
    assert isinstance(stage.chat, PausingChat)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("first")
        await person.until(lambda: "word" in person.bubbles()[-1][1])
        with held(stage):
            stage.chat.may_end.set()
            await person.until(lambda: person.facts()[1].startswith("10 tok"))
            await person.press("f8")
            assert title(person) == "Opening …"
            for question in ("second", "third"):
                await person.write(question)
                await person.press("enter")
                await person.until(lambda: person.composer.text == "")
            assert len(person.bubbles()) == 2
            assert person.notices() == []
        await person.until(lambda: len(person.bubbles()) == 4 and not person.busy)
        asked = [words for who, words in person.bubbles() if who == "You"]
        assert asked == ["second", "third"]
        second, first = stage.sessions.recent()
        assert contents(stage, first) == ["first", "word " * 10]
        assert contents(stage, second) == ["second", "word " * 10, "third", "word " * 10]


async def test_the_screen_does_not_wait_for_a_delete(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    rain, eggs = keep(stage, "Rain?", *RAINY), keep(stage, "Eggs?", *BOILED)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, rain, RAIN)
        await look(person)
        await chosen(person, rain)
        await person.press("delete")
        await person.until(lambda: isinstance(person.screen, ConfirmScreen))
        with held(stage):
            await person.press("y")
            await person.until(lambda: stage.chat.conversation.session is None)
            await person.press("escape")
            await person.until(lambda: person.screen is stage.app.chat_screen)
            await person.press(*"word")
            assert person.composer.text == "word"
            assert person.bubbles() == []
        await person.until(lambda: [each.id for each in stage.sessions.recent()] == [eggs.id])


@pytest.mark.parametrize("key", ["delete", "D"], ids=["alone", "with all"])
async def test_what_is_being_deleted_is_not_opened(key: str, make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    rain = keep(stage, "Rain?", *RAINY)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await chosen(person, rain)
        await person.press(key)
        await person.until(lambda: isinstance(person.screen, ConfirmScreen))
        with held(stage):
            await person.press("y")
            await person.until(lambda: stage.sessions._deleting._going)
            await person.press("enter")
            await person.until(lambda: any("being deleted" in each for each in person.notices()))
            await person.until(lambda: person.screen is stage.app.chat_screen and not person.busy)
            assert person.bubbles() == []
            await person.send("And now?")
        await person.until(lambda: not person.busy)
        assert person.bubbles() == [("You", "And now?"), ("echo-model", "yes")]
        await person.until(lambda: len(stage.sessions.recent()) == 1)
    assert [each.content for each in stage.stored()] == ["And now?", "yes"]


async def test_where_the_path_cannot_be_changed_what_is_shown_is_what_is_open(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    eggs, rain = keep(stage, "Eggs?", *BOILED), keep(stage, "Rain?", *RAINY)
    question, answer = stage.sessions.messages(rain.id)
    other = stage.sessions.add(rain.id, "assistant", "A zebra.", after=question.id)
    stage.sessions.move_head(rain.id, answer.id)
    stage.database._connection.execute("PRAGMA busy_timeout=50")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, eggs, EGGS)
        await look(person)
        await person.press("slash", *"zebra")
        table = person.screen.query_one(DataTable)
        await person.until(lambda: table.row_count == 1)
        with closing(sqlite3.connect(stage.database.path, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            await person.press("enter")
            await person.until(lambda: any("in use by" in each for each in person.notices()))
            await person.until(lambda: person.bubbles() == RAIN and not person.busy)
        assert title(person) == "Rain?"
        await person.ask("next")
        assert contents(stage, eggs) == ["Eggs?", "Ten minutes."]
        assert contents(stage, rain) == ["Rain?", "Perhaps.", "next", "yes"]
        person.app.chat_screen.open(Wanted(rain, other.id))
        await person.until(lambda: person.bubbles() == [RAIN[0], ("model", "A zebra.")])


async def test_what_cannot_be_opened_leaves_what_is_shown_and_gives_the_question_back(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    eggs, rain = keep(stage, "Eggs?", *BOILED), keep(stage, "Rain?", *RAINY)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, eggs, EGGS)
        await look(person)
        await chosen(person, rain)
        with held(stage, f"DELETE FROM session WHERE id = {rain.id}"):
            await person.press("enter")
            await person.until(lambda: person.screen is stage.app.chat_screen)
            await person.write("for the rain")
            await person.press("enter")
            await person.until(lambda: person.composer.text == "")
        await person.until(lambda: any("no session" in each for each in person.notices()))
        await person.until(lambda: person.composer.text == "for the rain" and not person.busy)
        assert title(person) == "Eggs?"
        assert person.bubbles() == EGGS
        assert contents(stage, eggs) == ["Eggs?", "Ten minutes."]


async def test_what_waits_for_a_session_that_cannot_be_opened_as_the_app_is_left_is_kept_apart(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    eggs, rain = keep(stage, "Eggs?", *BOILED), keep(stage, "Rain?", *RAINY)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, eggs, EGGS)
        await look(person)
        await chosen(person, rain)
        with held(stage, f"DELETE FROM session WHERE id = {rain.id}"):
            await person.press("enter")
            await person.until(lambda: person.screen is stage.app.chat_screen)
            await person.write("for the rain")
            await person.press("enter")
            await person.until(lambda: person.composer.text == "")
            await person.press("f10")
    assert stage.app.chat_screen.keep_waiting() == []
    assert contents(stage, eggs) == ["Eggs?", "Ten minutes."]
    assert [each.content for each in stage.stored()] == ["for the rain"]


async def test_what_was_open_and_is_deleted_is_not_shown_where_another_cannot_be_opened(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    eggs, rain = keep(stage, "Eggs?", *BOILED), keep(stage, "Rain?", *RAINY)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, eggs, EGGS)
        await look(person)
        await chosen(person, eggs)
        await person.press("delete")
        await person.until(lambda: isinstance(person.screen, ConfirmScreen))
        await person.press("y")
        await person.until(lambda: any("Deleted" in each for each in person.notices()))
        await chosen(person, rain)
        stage.sessions.delete([rain.id])  # by another process
        await person.press("enter")
        await person.until(lambda: any("no session" in each for each in person.notices()))
        await person.until(lambda: person.bubbles() == [] and not person.busy)


async def test_what_sessions_had_on_the_screen_is_not_kept_when_they_are_left(
    make_stage: MakeStage,
) -> None:
    """But for a few widgets of the last one, which may be painted once more while they go."""

    def lines() -> int:
        """How many widgets have painted lines, alive or not."""
        gc.collect()
        return sum(isinstance(each, StylesCache) for each in gc.get_objects())

    def measured() -> int:
        """How many widths of texts and places on the screen are remembered."""
        caches = (cached_cell_len, Region.intersection, Region.shrink, Region.union)
        return sum(cache.cache_info().currsize for cache in caches)

    stage = make_stage(pieces=["An *answer*\n\n```python\nx = 1\n```\n"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        StylesCache.get_inner_outer.cache_clear()  # of other tests
        empty, seen, most = lines(), 0, 0
        for _ in range(4):
            for number in range(4):
                await person.ask(f"question {number}")
            seen += lines() - empty
            most = max(most, measured())
            await person.press("f8")
            await person.until(lambda: not person.bubbles())
        assert lines() - empty < seen / 4
        assert measured() < most / 2
