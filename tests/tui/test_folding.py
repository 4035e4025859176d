"""Thinking on the screen: folded, unfolded, and while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from stage import Person, Stage, visible
from textual.widgets import Static

from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.bubble import Bubble
from ondevice.tui.widgets.prose import Prose

MakeStage = Callable[..., Stage]

THOUGHT = ["<thi", "nk>\nfirst ", "second</thi", "nk>\n\nan ", "**answer**"]


async def test_thinking_is_one_line_that_a_key_and_a_click_unfold(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=THOUGHT)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert person.bubbles()[1] == ("echo-model", "an **answer**")
        assert stage.stored()[1].content == "".join(THOUGHT)
        assert person.text(".fold") == "▸ thinking · 2 words · Ctrl+R T unfolds"
        await person.press("ctrl+r")
        assert person.text(".fold") == "▸ thinking · 2 words · T unfolds"
        await person.press("t")
        assert person.text(".fold") == "▾ thinking · 2 words · T folds"
        unfolded = person.screen.query_one(".thinking Prose", Prose)
        await person.until(lambda: visible(unfolded) == "first second")
        await person.press("c")
        assert person.app.clipboard == "an **answer**"
        await pilot.click(person.screen.query_one(".fold"))
        await person.until(lambda: not unfolded.display)
        assert not person.app.chat_screen.query(Bubble)[0].query(".fold")


async def test_thinking_shows_its_last_lines_while_it_goes_on(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<think>", *["word "] * 60, *["latest "] * 2000], delay_s=0.01)
    async with stage.app.run_test(size=(60, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: "latest" in person.text(".last"))
        last = person.screen.query_one(".last", Static)
        await person.until(lambda: last.size.height == 2)
        assert len(str(last.content).splitlines()) == 2
        await person.press("ctrl+r", "t")
        assert not last.display
        await person.until(lambda: visible(person.screen.query_one(".thinking Prose", Prose)))
        await person.press("escape", "escape")
        await person.until(lambda: not person.busy)


async def test_thinking_that_was_cut_is_kept_and_folded(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<think>never ", "ends</thin"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert "2 words" in person.text(".fold")
        await person.press("ctrl+r", "c")
        assert person.app.clipboard == "never ends</thin"
        person.app.chat_screen.open(Wanted(stage.sessions.recent()[0]))
        await person.until(lambda: len(person.bubbles()) == 2)
        await person.until(lambda: "2 words" in person.text(".fold"))


async def test_the_key_for_thinking_is_offered_where_there_is_some(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=THOUGHT)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r")
        assert "t" in person.screen.active_bindings
        await person.press("up")
        assert "t" not in person.screen.active_bindings
