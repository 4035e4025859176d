"""What is pasted or typed into a field is in it once, whole and in order, or refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from stage import Person, Stage
from terminal import PASTE, PASTE_END, Terminal
from textual import events
from textual.widgets import DataTable, Input, OptionList, TextArea

from ondevice.tui.screens.edit import LONGEST, EditScreen
from ondevice.tui.widgets.fields import LONGEST_TEXT
from ondevice.tui.widgets.finder import LONGEST_QUERY

MakeStage = Callable[..., Stage]
PRESET = '[presets]\ntutor = "one"\n'


async def ask_again(person: Person) -> None:
    await person.ask("one")
    await person.press("ctrl+r", "up", "e")


async def tell(person: Person) -> None:
    await person.press("f4")
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
    await person.press("s", "enter")  # begin from what holds now
    await person.until(lambda: isinstance(person.screen, EditScreen))
    person.screen.query_one(TextArea).text = "one"


async def change_preset(person: Person) -> None:
    await person.press("f9")
    await person.until(lambda: person.screen.query(OptionList))
    settings = person.screen.query_one(OptionList)
    settings.highlighted = settings.get_option_index("presets.tutor")
    await person.press("enter")


async def rename(person: Person) -> None:
    await person.ask("one")
    await person.press("f4")
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
    await person.press("r")


async def opened(person: Person, open_it: Callable[[Person], Awaitable[None]]) -> None:
    await open_it(person)
    await person.until(lambda: isinstance(person.screen, EditScreen))


@pytest.mark.parametrize("open_it", [ask_again, tell, change_preset])
async def test_a_text_of_several_lines_takes_a_paste_once_and_whole(
    open_it: Callable[[Person], Awaitable[None]], make_stage: MakeStage
) -> None:
    stage = make_stage(settings=PRESET)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, open_it)
        field = person.screen.query_one(TextArea)
        field.move_cursor(field.document.end)
        person.app.post_message(events.Paste(" hello\rlines\x1b[31m"))
        await person.until(lambda: field.text != "one")
        assert field.text == "one hello\nlines[31m"
        long = "x" * 30_000
        person.app.post_message(events.Paste(long))
        await person.until(lambda: len(field.text) > 30_000)
        assert field.text == f"one hello\nlines[31m{long}"
        person.app.post_message(events.Paste("y" * LONGEST_TEXT))
        await person.until(person.notices)
        assert "Not pasted: at most 400,000 characters" in person.notices()[-1]
        assert field.text == f"one hello\nlines[31m{long}"
        field.select_all()
        person.app.post_message(events.Paste("z" * LONGEST_TEXT))  # in the place of all of it
        await person.until(lambda: field.text == "z" * LONGEST_TEXT)


async def test_what_was_pasted_into_ask_again_is_what_is_asked(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, ask_again)
        person.app.post_message(events.Paste(" two"))
        await person.until(lambda: "two" in person.screen.query_one(TextArea).text)
        await person.press("enter")
        await person.until(lambda: stage.stored()[0].content == "one two" and not person.busy)


async def test_a_line_takes_a_paste_once_as_one_line_or_says_that_it_does_not(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, rename)
        field = person.screen.query_one(Input)
        field.cursor_position = len(field.value)
        person.app.post_message(events.Paste(" two\r\nthree\rfour\n"))
        await person.until(lambda: field.value != "one")
        assert field.value == "one two three four"
        person.app.post_message(events.Paste("x" * LONGEST))
        await person.until(person.notices)
        assert "Not pasted: at most 20,000 characters" in person.notices()[-1]
        assert field.value == "one two three four"


async def test_a_search_says_that_it_does_not_take_a_long_paste(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.press("ctrl+f")
        person.app.post_message(events.Paste("x" * (LONGEST_QUERY + 1)))
        await person.until(person.notices)
        assert "Not pasted: at most 200 characters" in person.notices()[-1]


def test_a_paste_from_a_terminal_is_in_the_question_once(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal().wait_ready()
    terminal.write("one\r")
    terminal.expect("1 tok")
    terminal.write("\x12")
    terminal.expect("▌")
    terminal.write("k")
    terminal.write("e")
    terminal.expect("Ask again")
    terminal.write(f"{PASTE} pasted{PASTE_END}")
    terminal.expect("one pasted")
    assert terminal.text().count("pasted") == 1
    terminal.write("f10")
    assert terminal.exit_code() == 0


BURST = [*"ab", "backspace", *"cd", "left", "x", "home", "y", "end", "z"]


def strike(person: Person, keys: list[str]) -> None:
    """Press keys as a slow network delivers them: all at once."""
    for key in keys:
        person.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_keys_that_come_in_a_burst_edit_a_line_in_their_order(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, rename)
        strike(person, ["ctrl+u", *BURST])
        field = person.screen.query_one(Input)
        await person.until(lambda: field.value.endswith("z"))
        assert field.value == "yacxdz"


async def test_keys_that_come_in_a_burst_edit_a_text_in_their_order(make_stage: MakeStage) -> None:
    stage = make_stage()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        strike(person, BURST)
        await person.until(lambda: person.composer.text.endswith("z"))
        assert person.composer.text == "yacxdz"


async def test_enter_that_comes_twice_in_a_burst_asks_once(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await opened(person, ask_again)
        for _ in range(2):
            person.app.post_message(events.Key("enter", "\r"))
        await person.until(lambda: len(stage.chat.conversation.tree.messages) == 4)
        await person.until(lambda: not person.busy)
        assert person.screen is stage.app.chat_screen
        assert len(stage.chat.conversation.tree.messages) == 4
