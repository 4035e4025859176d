"""A context that is nearly full: it is said, room is made as a person wants it, nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from stage import Person, Stage
from textual.widgets import OptionList, Static, TextArea

from ondevice.domain.model import ModelFile
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.room import RoomScreen

MakeStage = Callable[..., Stage]
STORY = "Once there was a river that ran to the sea. "
SMALL = "context = 256\nmax_tokens = 4\n[sampling]\ntemperature = 0\n"
LEFT_OUT = "(Left out here: the first turn of this conversation.)"


def said(person: Person) -> str:
    """What the screen of the context says below its ways."""
    return str(person.screen.query_one("#said", Static).content)


def ways(person: Person) -> list[str]:
    options = person.screen.query_one(OptionList).options
    return [str(option.prompt) for option in options]


async def look(person: Person) -> None:
    """Open the screen of the context, and wait for what it finds."""
    await person.press("ctrl+o")
    await person.until(lambda: isinstance(person.screen, RoomScreen))
    await person.until(lambda: said(person) != "counting ...")


@asynccontextmanager
async def talked(stage: Stage) -> AsyncIterator[Person]:
    """Two turns, the first one with a file of 600 words."""
    stage.attachable("big.txt", "word " * 600)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("What is in @big.txt?")
        await person.ask("And then?")
        yield person


async def test_what_fills_the_context_is_shown_with_the_question_that_is_written(
    make_stage: MakeStage,
) -> None:
    async with talked(make_stage(pieces=["yes"])) as person:
        await person.write("And in @big.txt?")
        await look(person)
        shown = str(person.screen.query_one("#filled", Static).content)
        assert "▒ attached 1,206" in shown
        assert "With the question that is written: 1,209 of 2,048 tokens." in shown
        assert ways(person)[0].startswith("Leave out the oldest 1 turn: 603 tokens.")
        assert ways(person)[0].endswith("The question has room then.")
        await person.press("escape")
        assert person.composer.text == "And in @big.txt?"
        assert len(person.stage.stored()) == 4


async def test_what_is_shown_has_the_number_that_the_line_has(
    make_stage: MakeStage, tiny_file: ModelFile
) -> None:
    stage = make_stage(settings=SMALL).use(tiny_file)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Say yes.")
        answer = stage.stored()[-1]
        used = answer.prompt_tokens + answer.completion_tokens
        await person.until(lambda: f" {used}/256" in person.text("#line"))
        await look(person)
        shown = str(person.screen.query_one("#filled", Static).content)
        assert f"What is shown: {used} of 256 tokens." in shown
        assert f"history {used}" in " ".join(shown.split())
        # the template's tokens before the next question are counted with that one
        assert stage.chat.parts_of(stage.chat.conversation.messages).used > used


async def test_turns_that_are_left_out_leave_a_line_and_stay_stored(make_stage: MakeStage) -> None:
    async with talked(make_stage(pieces=["yes"])) as person:
        await look(person)
        await person.press("enter")
        await person.until(lambda: ("ondevice", LEFT_OUT) in person.bubbles())
        await person.until(lambda: not person.busy)
        assert len(person.bubbles()) == 5
        context = person.stage.chat.context
        assert context is not None
        assert context.prompt.attached == 0
        await person.ask("And now?")
        contents = [each.content for each in person.stage.stored()]
        assert contents[:5] == ["What is in @big.txt?", "yes", "And then?", "yes", LEFT_OUT]


async def summed_up(person: Person) -> None:
    """Choose the summary, and wait until it can be read."""
    await look(person)
    await person.press("down", "enter")
    await person.until(lambda: isinstance(person.screen, EditScreen))
    await person.until(lambda: person.screen.query(TextArea))


async def test_a_summary_is_read_and_changed_before_it_is_used(make_stage: MakeStage) -> None:
    async with talked(make_stage(pieces=["It ", "was ", "so."])) as person:
        await summed_up(person)
        field = person.screen.query_one(TextArea)
        assert field.text == "It was so."
        field.text = "It was otherwise."
        await person.press("enter")
        in_short = "(In short, the first turn of this conversation:)\n\nIt was otherwise."
        await person.until(lambda: ("echo-model", in_short) in person.bubbles())
        assert person.stage.stored()[-1].content == in_short


async def test_a_summary_that_is_empty_is_said_to_be_none(make_stage: MakeStage) -> None:
    async with talked(make_stage(pieces=["<think>", "hm"])) as person:
        await look(person)
        await person.press("down", "enter")
        await person.until(lambda: said(person).startswith("no summary came of it."))
        assert isinstance(person.screen, RoomScreen)


async def test_a_summary_that_is_refused_changes_nothing(make_stage: MakeStage) -> None:
    async with talked(make_stage(pieces=["It ", "was ", "so."])) as person:
        before = person.stage.stored()
        await summed_up(person)
        await person.press("escape")
        await person.until(lambda: said(person) == "Nothing was changed.")
        await person.press("escape")
        await person.until(lambda: not isinstance(person.screen, RoomScreen))
        assert person.stage.stored() == before
        await person.ask("And now?")
        assert len(person.stage.stored()) == len(before) + 2


async def test_a_summary_in_the_making_is_stopped_and_the_engine_answers_then(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"], more={"slow": {"pieces": ["w "], "repeat": 200,
                                                      "delay_s": 0.05}})  # fmt: skip
    async with talked(stage) as person:
        person.app.chat_screen.load(stage.files["slow"])
        await person.until(lambda: "slow" in person.text("#running"))
        await person.ready()
        before = stage.stored()
        await look(person)
        await person.press("down", "enter")
        await person.until(lambda: "of at most 256 tokens" in said(person))
        await person.press("escape")
        await person.until(lambda: not isinstance(person.screen, RoomScreen))
        assert stage.stored() == before
        await person.send("And now?")
        await person.until(lambda: person.bubbles()[-1][1].startswith("w "))
        await person.press("escape")
        await person.until(lambda: not person.busy)


async def test_escape_counts_before_a_thread_has_taken_up_the_summary(
    make_stage: MakeStage,
) -> None:
    slow = {"pieces": ["w "], "repeat": 200, "delay_s": 0.5}  # longer than a test waits
    stage = make_stage(pieces=["yes"], more={"slow": slow})
    async with talked(stage) as person:
        person.app.chat_screen.load(stage.files["slow"])
        await person.until(lambda: "slow" in person.text("#running"))
        await person.ready()
        await look(person)
        screen, options = person.screen, person.screen.query_one(OptionList)
        assert isinstance(screen, RoomScreen)
        screen._choose(OptionList.OptionSelected(options, options.options[1], 1))
        screen.action_cancel()
        await person.until(lambda: person.screen is person.app.chat_screen)
        assert len(stage.stored()) == 4


async def refused(person: Person, text: str) -> None:
    """Send what has no room, until it is back."""
    await person.write(text)
    await person.press("enter")
    await person.until(lambda: person.composer.text == text and not person.busy)
    await person.until(lambda: person.bubbles()[-1][0] == "ondevice")


async def test_a_question_that_does_not_fit_comes_back_and_a_shorter_one_is_answered(
    make_stage: MakeStage, tiny_file: ModelFile
) -> None:
    stage = make_stage(settings=SMALL).use(tiny_file)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Say yes.")
        before = person.bubbles()
        long = STORY * 25
        await refused(person, long)
        assert person.bubbles()[:-1] == before
        assert "Ctrl+O makes room" in person.bubbles()[-1][1]
        person.composer.text = ""
        await person.ask("Say no.")
        assert [who for who, _ in person.bubbles()][-2:] == ["You", "tiny"]
        asked = [each.content for each in stage.stored() if each.role == "user"]
        assert asked == ["Say yes.", "Say no."]


async def test_a_larger_context_has_the_question_answered(
    make_stage: MakeStage, tiny_file: ModelFile
) -> None:
    stage = make_stage(settings=SMALL).use(tiny_file)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await refused(person, STORY * 25)
        await look(person)
        assert ways(person)[0].startswith("Raise the context from 256 to ")
        await person.press("enter")
        await person.until(lambda: "loading" in person.text("#running"))
        await person.ready()
        await person.press("enter")
        await person.until(lambda: not person.busy and len(person.bubbles()) > 2)
        assert stage.stored()[-1].completion_tokens > 0
        assert person.app.chat_screen.can_reload  # as the settings say


async def test_a_context_that_is_nearly_full_is_told_with_the_key_that_makes_room(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["one "], repeat=90, settings="context = 100\n")
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("What is it?")
        told = "the context is nearly full: 7 tokens are free. Ctrl+O makes room."
        await person.until(lambda: told in person.notices())
