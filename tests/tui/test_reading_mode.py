"""Messages chosen with keys: where the cursor goes, and what is done with the one it is on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stage import Person, Stage

from ondevice.tui import messages
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.bubble import Bubble
from ondevice.tui.widgets.conversation import PAGE, Conversation
from ondevice.tui.widgets.prose import Prose

MakeStage = Callable[..., Stage]


def talk(person: Person) -> Conversation:
    return person.app.chat_screen.query_one(Conversation)


def chosen(person: Person) -> int | None:
    """Which message is marked as chosen, counted from the first shown."""
    marked = [
        index for index, each in enumerate(talk(person).bubbles) if each.has_class("selected")
    ]
    assert len(marked) <= 1
    return marked[0] if marked else None


def store(stage: Stage, count: int) -> None:
    """A session of `count` messages, opened."""
    session = stage.sessions.create("long ago")
    for number in range(count):
        role = "assistant" if number % 2 else "user"
        stage.sessions.add(session.id, role, f"**number** {number}")
    stage.app.chat_screen.open(Wanted(session))


async def test_a_key_enters_the_messages_at_the_last_and_escape_leads_back(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("ctrl+r")
        assert person.composer.has_focus
        await person.ask("first")
        await person.ask("second")
        await person.press("ctrl+r")
        assert chosen(person) == 3
        await person.press("up", "k")
        assert chosen(person) == 1
        await person.press("up", "up", "up")
        assert chosen(person) == 0
        await person.press("down", "j", "down", "down", "down")
        assert chosen(person) == 3
        await person.press("escape")
        assert person.composer.has_focus
        assert chosen(person) is None
        await person.press(*"ckt/")
        assert person.composer.text == "ckt/"


async def test_the_chosen_message_is_marked_without_colours(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one\n\ntwo"])
    async with stage.app.run_test(size=(60, 20)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r")
        await pilot.pause()
        bubble = talk(person).bubbles[1].region
        frame = person.screen._compositor.render_strips()
        rows = [frame[y].text[bubble.x : bubble.right] for y in range(bubble.y, bubble.bottom)]
        assert [row[:3] for row in rows] == ["▌ e", "▌ o", "▌  ", "▌ t"]


async def test_a_click_chooses_a_message_and_a_selection_does_not(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one two three"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        question, answer = person.app.chat_screen.query(Prose)
        await pilot.mouse_down(answer, offset=(3, 0))
        await pilot.hover(answer, offset=(8, 0))
        await pilot.mouse_up(answer, offset=(8, 0))
        assert person.composer.has_focus
        await pilot.click(question, offset=(3, 0))
        await person.until(lambda: chosen(person) == 0)
        await person.press("c")
        assert person.app.clipboard == "question"


async def test_the_cursor_goes_on_to_messages_that_were_not_shown(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        store(stage, PAGE + 5)
        await person.until(lambda: len(person.bubbles()) == PAGE)
        await person.press("ctrl+r", *["up"] * PAGE)
        await person.until(lambda: len(person.bubbles()) == PAGE + 5)
        assert chosen(person) == 4
        await person.press("c")
        assert person.app.clipboard == "**number** 4"
        await pilot.pause()
        assert person.app.chat_screen.query(Bubble)[4].region.y >= talk(person).region.y


async def test_the_head_of_a_chosen_message_is_in_view(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["line\n\n"] * 40)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("first")
        await person.ask("second")
        await person.press("ctrl+r", "up", "up")
        await person.until(lambda: at_top(person) == chosen(person) == 1)
        await person.press("down", "down")
        await person.until(lambda: at_top(person) == chosen(person) == 3)


def at_top(person: Person) -> int | None:
    """Which message begins at the first row in view."""
    top = talk(person).content_region.y
    found = [index for index, each in enumerate(talk(person).bubbles) if each.region.y == top]
    return found[0] if found else None


async def test_another_session_is_written_in(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r", "f8")
        await person.until(lambda: not person.bubbles())
        await person.press(*"up k")
        assert person.composer.text == "up k"


@pytest.mark.parametrize(
    ("key", "of", "fact"),
    [
        pytest.param("e", 0, messages.EditAsked, id="edit"),
        pytest.param("r", 1, messages.RegenerateAsked, id="regenerate"),
        pytest.param("b", 0, messages.BranchAsked, id="branch"),
        pytest.param("u", 1, messages.UsefulMarked, id="useful"),
    ],
)
async def test_an_act_tells_of_which_message(
    make_stage: MakeStage, key: str, of: int, fact: type[messages.MessageAsked]
) -> None:
    stage = make_stage(pieces=["yes"])
    told: list[object] = []
    async with stage.app.run_test(message_hook=told.append) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r")
        talk(person).choose(talk(person).bubbles[1 - of])
        if fact not in (messages.BranchAsked, messages.RegenerateAsked):
            held = person.screen.active_bindings[key].binding.action
            assert held.startswith("refuse(")
        talk(person).choose(talk(person).bubbles[of])
        stored = stage.stored()
        await person.press(key)
        asked = [each for each in told if isinstance(each, fact)]
        assert asked[0].message == stored[of]
        await person.until(lambda: not person.busy)


async def test_the_cursor_stays_while_what_is_past_is_taken_away(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("first")
        await person.ask("second")
        stage.app._load_model("absent-model")
        await person.until(lambda: len(person.bubbles()) == 5)
        await person.press("ctrl+r", "up", "up", "up")
        assert chosen(person) == 1
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: len(person.bubbles()) == 4)
        await person.press("c")
        assert person.app.clipboard == "yes"
        await person.press("up")
        assert chosen(person) == 0


async def test_the_cursor_goes_to_the_last_message_from_one_that_is_taken_away(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("first")
        stage.app._load_model("absent-model")
        await person.until(lambda: len(person.bubbles()) == 3)
        await person.press("ctrl+r")
        assert chosen(person) == 2
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: len(person.bubbles()) == 2)
        assert chosen(person) == 1


async def test_where_nothing_is_left_to_read_one_writes(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    stage.app = stage.make_app("absent-model")
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(person.bubbles)
        await person.press("ctrl+r")
        assert chosen(person) == 0
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: not person.bubbles())
        await person.press("up", *"word")
        assert person.composer.text == "word"
