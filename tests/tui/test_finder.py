"""Find in the conversation: what counts, which place is shown, and where Escape leads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import Person, Stage
from textual.content import Content
from textual.widgets import Input

from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.conversation import PAGE, Conversation
from ondevice.tui.widgets.finder import Finder
from ondevice.tui.widgets.prose import HERE, Prose
from ondevice.tui.widgets.rows import folded, places, wrapped

MakeStage = Callable[..., Stage]

ANSWER = "A **Needle**, and\na needle in `needles`.\n\n```\nneedle = 1\n```\n"


def count(person: Person) -> str:
    return person.text("#find .count")


def here(person: Person) -> list[str]:
    """The text that is marked as the place that is looked at, on every row that is in view."""
    found = []
    for prose in person.app.chat_screen.query(Prose):
        for y in range(len(prose._rows)):
            for text, style in prose._marked(y, prose._rows[y].content).render():
                if style.reverse:
                    found.append(text)
    return found


async def seek(person: Person, text: str) -> None:
    await person.press("ctrl+f")
    person.screen.query_one(Input).value = text
    await person.until(lambda: not count(person).endswith("…") and count(person))


async def test_places_are_counted_and_gone_through(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=[ANSWER])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Where is the needle?")
        await seek(person, "NEEDLE")
        assert count(person) == "5 of 5"
        assert here(person) == ["needle"]
        for key, said in (("enter", 4), ("up", 3), ("down", 4), *[("up", n) for n in (3, 2, 1, 1)]):
            await person.press(key)
            await person.until(lambda said=said: count(person) == f"{said} of 5")
        assert here(person) == ["needle"]
        await person.press("escape")
        assert person.composer.has_focus
        assert not person.screen.query_one(Finder).display
        assert here(person) == []


async def test_what_is_not_there_is_said(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await seek(person, "missing")
        assert count(person) == "nothing found"
        await person.press("enter", "down")
        assert count(person) == "nothing found"


async def test_nothing_is_opened_where_there_is_nothing_to_find(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("ctrl+f")
        assert person.composer.has_focus
        await person.press("slash")
        assert person.composer.text == "/"


async def test_a_place_that_is_out_of_view_is_brought_into_it(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["first needle\n\n", *["word\n\n"] * 60, "last needle"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        talk = person.screen.query_one(Conversation)
        await person.until(lambda: talk.scroll_y == talk.max_scroll_y > 0)
        await seek(person, "needle")
        assert count(person) == "2 of 2"
        await person.press("up")
        await person.until(lambda: count(person) == "1 of 2")
        prose = person.screen.query(Prose).last()
        await person.until(lambda: talk.row_of(prose, 0) in talk.content_region.line_range)
        await person.press("down")
        await person.until(lambda: talk.row_of(prose, 1) in talk.content_region.line_range)


async def test_messages_that_are_not_shown_yet_are_found_and_shown(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        session = stage.sessions.create("long ago")
        for number in range(3 * PAGE):
            hay = "a **nee**dle" if number in (1, PAGE + 3, 3 * PAGE - 1) else "hay"
            stage.sessions.add(session.id, "assistant" if number % 2 else "user", hay)
        person.app.chat_screen.open(Wanted(session))
        await person.until(lambda: len(person.bubbles()) == PAGE)
        await seek(person, "needle")
        assert count(person) == "3 of 3"
        await person.press("up")
        await person.until(lambda: count(person) == "2 of 3")
        assert len(person.bubbles()) == 2 * PAGE
        await person.press("up")
        await person.until(lambda: count(person) == "1 of 3")
        assert len(person.bubbles()) == 3 * PAGE
        assert "".join(here(person)) == "needle"
        await person.press("down")
        await person.until(lambda: count(person) == "2 of 3")


async def test_while_reading_the_cursor_follows_what_is_found(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["a needle"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two needle")
        await person.press("ctrl+r", "slash", *"needle")
        await person.until(lambda: count(person) == "3 of 3")
        await person.press("up")
        await person.until(lambda: count(person) == "2 of 3")
        await person.press("escape", "c")
        assert person.app.clipboard == "two needle"


async def test_folded_thinking_is_not_searched_and_unfolded_is(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<think>a needle</think>an answer"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await seek(person, "needle")
        assert count(person) == "nothing found"
        await person.press("escape", "ctrl+r", "t")
        await pilot.pause()
        await seek(person, "needle")
        assert count(person) == "1 of 1"


async def test_a_place_stays_marked_at_another_width(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["many words before the needle"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await seek(person, "the needle")
        await pilot.resize_terminal(34, 24)
        await pilot.pause()
        assert "".join(here(person)) in ("the needle", "theneedle")


async def test_what_is_written_meanwhile_is_found_with_the_next_key(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["needle "] * 5)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("needle")
        await seek(person, "needle")
        assert count(person) == "6 of 6"
        await person.press("escape")
        await person.ask("needle")
        await seek(person, "needle")
        assert count(person) == "12 of 12"


WORDS = st.lists(
    st.sampled_from(["needle", "NEEDLE", "e\u0301", "語", "hay", " ", "  ", "\n", "👍🏽"])
)


@given(WORDS.map("".join), st.integers(8, 20))
def test_a_place_is_found_wherever_the_screen_breaks_it(text: str, width: int) -> None:
    for rows in (list(wrapped(Content(text), width)), list(folded(Content(text), width))):
        found = places(rows, "needle")
        assert len(found) == text.lower().count("needle")
        for parts in found:
            said = "".join(rows[y].content.plain[first:last] for y, first, last in parts)
            assert said.lower() == "needle"


def test_marks_are_not_only_colours() -> None:
    assert "reverse" in HERE
    prose = Prose("needle needle")
    assert prose.find("needle", 40) == 2
    prose.point(1)
    styles = [style for text, style in prose._marked(0, prose._rows[0].content).render()
              if text == "needle"]  # fmt: skip
    assert [(style.underline, style.reverse) for style in styles] == [(True, None), (None, True)]


async def test_another_session_ends_the_search(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["a needle"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await seek(person, "needle")
        await person.press("f8")
        await person.until(lambda: not person.bubbles())
        assert not person.screen.query_one(Finder).display
        assert person.composer.has_focus


@pytest.mark.parametrize("key", ["f2", "f4"])
async def test_other_screens_leave_the_search_as_it_is(make_stage: MakeStage, key: str) -> None:
    stage = make_stage(pieces=["a needle"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await seek(person, "needle")
        await person.press(key)
        await person.press("escape", "up", "down")
        await pilot.pause()
        assert count(person) == "1 of 1"
        assert here(person) == ["needle"]
