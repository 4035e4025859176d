"""What is done with a message: asked again, answered again, branched from, marked; nothing lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from stage import Person, Stage
from textual.widgets import TextArea

from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import PickScreen
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.conversation import Conversation

MakeStage = Callable[..., Stage]


def talk(person: Person) -> Conversation:
    return person.app.chat_screen.query_one(Conversation)


def texts(person: Person) -> list[str]:
    return [text for _, text in person.bubbles()]


async def read(person: Person, message: int, *keys: str) -> None:
    """Press `keys` on the message, counted from the first shown."""
    if not talk(person).has_focus:
        await person.press("ctrl+r")
    talk(person).choose(talk(person).bubbles[message])
    await person.press(*keys)


async def edit(person: Person, message: int, text: str) -> None:
    await read(person, message, "e")
    await person.until(lambda: isinstance(person.screen, EditScreen))
    person.screen.query_one(TextArea).text = text
    await person.press("enter")
    await person.until(lambda: text in texts(person))
    await person.until(lambda: not person.busy)


async def test_an_edited_question_takes_the_place_of_the_first_which_stays(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()  # it answers with the question
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two")
        await edit(person, 0, "other")
        assert texts(person) == ["other", "other"]
        assert person.facts()[0] == "2 of 2"
        await read(person, 0, "left_square_bracket")
        await person.until(lambda: texts(person) == ["one", "one", "two", "two"])
        assert person.facts()[0] == "1 of 2"
        await person.until(lambda: talk(person).cursor is talk(person).bubbles[0])
        assert talk(person).has_focus
        await person.press("left_square_bracket")
        await person.until(lambda: any("before it" in each for each in person.notices()))
        await person.press("right_square_bracket")
        await person.until(lambda: texts(person) == ["other", "other"])
    (session,) = stage.sessions.recent()
    assert len(stage.sessions.tree(session.id).messages) == 6


async def test_a_blank_question_is_refused_and_escape_changes_nothing(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await read(person, 0, "e")
        await person.until(lambda: isinstance(person.screen, EditScreen))
        person.screen.query_one(TextArea).text = " \n"
        await person.press("enter")
        assert isinstance(person.screen, EditScreen)
        await person.press("escape")
        assert texts(person) == ["one", "one"]
    assert len(stage.stored()) == 2


async def test_a_key_that_is_not_for_this_message_says_so(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await read(person, 1, "e")
        await person.until(person.notices)
        assert person.notices()[-1] == "Edit is for a question; ↑ and ↓ go to one."
        await read(person, 0, "u")
        await person.until(lambda: len(person.notices()) == 2)
        assert person.notices()[-1] == "Useful is for an answer; ↑ and ↓ go to one."
        assert stage.stored()[1].useful is False
        await read(person, 0, "e")
        await person.until(lambda: isinstance(person.screen, EditScreen))


async def test_another_answer_stands_beside_the_first(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two")
        await read(person, 1, "r")
        await person.until(lambda: len(texts(person)) == 2 and not person.busy)
        assert texts(person) == ["one", "yes"]
        assert person.facts()[1].endswith("2 of 2")
        await read(person, 1, "left_square_bracket")
        await person.until(lambda: len(texts(person)) == 4)


async def test_an_answer_that_broke_off_can_be_made_again(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02, signal_at=40)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert [who for who, _ in person.bubbles()] == ["You", "echo-model", "ondevice"]
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: "second-model" in person.text("#running"))
        await person.ready()
        await read(person, 1, "r")
        await person.until(lambda: texts(person) == ["question", "second"] and not person.busy)
        assert person.facts()[1].endswith("2 of 2")


async def test_a_branch_goes_on_from_a_message_and_the_rest_can_be_gone_back_to(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two")
        await read(person, 1, "b")
        await person.until(lambda: texts(person) == ["one", "one"])
        await person.until(lambda: person.composer.has_focus and not person.busy)
        await person.ask("instead")
        assert texts(person) == ["one", "one", "instead", "instead"]
        assert person.facts()[2] == "2 of 2"
        await read(person, 0, "p")
        await person.until(lambda: isinstance(person.screen, PickScreen))
        await person.press(*"two", "enter")
        await person.until(lambda: texts(person) == ["one", "one", "two", "two"])
    assert [each.content for each in stage.stored()] == ["one", "one", "two", "two"]


async def test_a_useful_answer_is_marked_with_a_word_and_counts_in_the_ledger(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await read(person, 1, "u")
        await person.until(lambda: "★ useful" in person.facts()[1])
        assert stage.stored()[1].useful
        await person.press("u")
        await person.until(lambda: "useful" not in person.facts()[1])
        assert not stage.stored()[1].useful
        await person.press("u")
        await person.until(lambda: stage.stored()[1].useful)
        stage.app.chat_screen.open(Wanted(stage.sessions.recent()[0]))
        await person.until(lambda: len(person.facts()) == 2 and "★ useful" in person.facts()[1])


async def test_in_a_private_session_all_of_it_works_in_memory(make_stage: MakeStage) -> None:
    stage = make_stage()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        stage.app.chat_screen.open(Wanted(None, private=True))
        await person.ask("one")
        await edit(person, 0, "other")
        await read(person, 1, "u")
        await person.until(lambda: "★ useful" in person.facts()[1])
        await read(person, 0, "left_square_bracket")
        await person.until(lambda: texts(person) == ["one", "one"])
    assert stage.sessions.recent() == []


async def test_while_an_answer_is_made_no_path_is_changed(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    session = stage.sessions.create("before")
    for role in ("user", "assistant"):
        stage.sessions.add(session.id, role, "text")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        stage.app.chat_screen.open(Wanted(session))
        await person.until(lambda: len(texts(person)) == 2)
        await person.send("question")
        for message, key in ((0, "e"), (1, "r"), (1, "b"), (1, "p")):
            await read(person, message, key)
            assert person.screen is stage.app.chat_screen
            assert len(texts(person)) == 4
        assert "Esc stops the answer first" in person.notices()[-1]
        await person.press("escape", "escape")
        await person.until(lambda: not person.busy)


@pytest.mark.parametrize("key", ["u", "b"])
async def test_trouble_with_the_database_is_a_notice_and_changes_nothing(
    key: str, make_stage: MakeStage
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.database._connection.execute("PRAGMA busy_timeout=50")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two")
        other = sqlite3.connect(stage.database.path)
        other.execute("BEGIN IMMEDIATE")
        await read(person, 1, key)
        await person.until(lambda: any("in use by" in each for each in person.notices()))
        other.close()
        assert len(texts(person)) == 4
        assert "useful" not in person.facts()[1]
        await person.until(lambda: not person.busy)
        await person.press("escape")
        await person.ask("three")
    assert [each.content for each in stage.stored()] == ["one", "yes", "two", "yes", "three", "yes"]
