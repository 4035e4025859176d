"""Every screen in every terminal, down to a single cell: Textual 8.2 fails on text of no width."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stage import Person, Stage, visible

from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.prose import Prose

MakeStage = Callable[..., Stage]

DEEP = "> " * 15 + "deep\n\n" + "".join("  " * n + "- item\n" for n in range(15))
WIDE = (
    "\n|" + "a|" * 40 + "\n|" + "-|" * 40 + "\n|" + "b|" * 40 + "\n\n```\n" + "x" * 300 + "\n```\n"
)
SIZES = (
    (120, 40),
    (40, 24),
    (99, 12),
    (20, 5),
    (120, 3),
    (8, 8),
    (3, 2),
    (2, 40),
    (1, 1),
    (80, 24),
)


@pytest.mark.parametrize(
    "key", ["", "f1", "f2", "f3", "f4", "f9", "ctrl+l", "ctrl+r", "ctrl+f", "ctrl+p"]
)
async def test_a_screen_survives_every_size(make_stage: MakeStage, key: str) -> None:
    stage = make_stage(pieces=[DEEP, WIDE, "the end"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("deep and wide")
        if key:
            await person.press(key)
        stage.app.notify("some words")
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert "the end" in visible(stage.app.chat_screen.query(Prose).last())


async def test_what_overflows_from_a_negative_offset_shows_its_end(make_stage: MakeStage) -> None:
    """Textual 8.2 leaves one behind when an anchored view gets room; the next turn may fill it."""
    stage = make_stage(pieces=["word\n\n"], repeat=60)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        talk = stage.app.chat_screen.query_one(Conversation)
        await person.until(lambda: talk.max_scroll_y > 0)
        talk.release_anchor()
        talk.set_reactive(Conversation.scroll_y, -3)
        talk.keep_end()
        await person.until(lambda: talk.scroll_y == talk.max_scroll_y)
        await pilot.pause()
        assert talk.scroll_y == talk.max_scroll_y


async def test_an_answer_that_takes_fewer_rows_than_held_begins_at_the_top(
    make_stage: MakeStage,
) -> None:
    """The anchor of a view that was full sets a negative offset, and no watcher hears of it."""
    stage = make_stage(pieces=["word"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        talk = stage.app.chat_screen.query_one(Conversation)
        assert talk.max_scroll_y == 0
        talk.anchor()
        talk.refresh(layout=True)
        await person.until(lambda: not talk.is_anchored)
        assert talk.scroll_y == 0
