"""Writing: which keys send, break lines, recall, and which stay the text area's own."""

from __future__ import annotations

from collections.abc import Callable

from stage import Person, Stage
from textual import events
from textual.binding import Binding
from textual.widgets import TextArea

from ondevice.tui.widgets.fields import LONGEST_TEXT

MakeStage = Callable[..., Stage]


async def test_two_keys_break_the_line_and_enter_sends_it_whole(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("a", "ctrl+j", "b", "shift+enter", "c")
        assert person.composer.text == "a\nb\nc"
        await person.press("enter")
        await person.until(lambda: len(stage.stored()) == 2 and not person.busy)
        assert stage.stored()[0].content == "a\nb\nc"


async def test_up_and_down_recall_only_at_the_first_and_last_line(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        for text in ("older", "newer one\nof two lines"):
            await person.ask(text)
        await person.press(*"draft", "ctrl+j", *"line")
        await person.press("up")
        assert person.composer.text == "draft\nline"
        await person.press("up")
        assert person.composer.text == "newer one\nof two lines"
        await person.press("up")
        assert person.composer.text == "newer one\nof two lines"
        await person.press("up")
        assert person.composer.text == "older"
        await person.press("up", "down")
        assert person.composer.text == "newer one\nof two lines"
        await person.press("down")
        assert person.composer.text == "draft\nline"
        await person.press("down")
        assert person.composer.text == "draft\nline"


async def test_up_moves_inside_a_wrapped_line_before_it_recalls(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("older")
        long = "many words " * 20
        await person.write(long)
        await person.press("up")
        assert person.composer.text == long


async def test_the_text_areas_own_keys_stay_its_own(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        active = Person(stage, pilot).screen.active_bindings
        own = {one.key for one in Binding.make_bindings(TextArea.BINDINGS)}
        assert {"ctrl+a", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w", "ctrl+y", "ctrl+z"} <= own
        assert {active[key].node for key in own} == {Person(stage, pilot).composer}
        taken = {key for key in own if active[key].binding.id}
        assert taken == {"pageup", "pagedown"}


async def test_no_key_is_taken_from_the_terminal(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        active = Person(stage, pilot).screen.active_bindings
        assert not {"ctrl+b", "ctrl+s", "ctrl+q"} & set(active)


async def test_a_paste_that_is_too_long_is_refused_and_said(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        person.app.post_message(events.Paste("x" * (LONGEST_TEXT + 1)))
        await person.until(lambda: person.notices())
        assert person.composer.text == ""
        assert "Not pasted" in person.notices()[0]
        person.app.post_message(events.Paste("short\nlines"))
        await person.until(lambda: person.composer.text == "short\nlines")


async def test_selected_text_can_be_copied(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["an ", "**answer**"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        person.screen.text_select_all()
        await person.press("ctrl+c")
        assert "answer" in person.app.clipboard
        await person.press("escape", *"word", "shift+home", "ctrl+c")
        assert person.app.clipboard == "word"


async def test_what_is_typed_right_after_enter_begins_the_next_question(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        for key in (*"first", "enter", *"next", "ctrl+j", *"line"):
            person.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await person.until(lambda: person.composer.text == "next\nline")
        await person.until(lambda: not person.busy and len(person.bubbles()) == 2)
        assert person.bubbles()[0][1] == "first"
        assert person.composer.text == "next\nline"


async def test_a_refused_question_comes_back_above_what_was_typed_since(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=2000, delay_s=0.05)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("first")
        for key in (*"early", "enter", *"er"):
            person.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await person.until(lambda: person.composer.text == "early\ner")
        assert len(person.bubbles()) == 2
        await person.press("escape")
        await person.until(lambda: not person.busy)
