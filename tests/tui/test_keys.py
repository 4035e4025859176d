"""The last line: which keys it names, and that it keeps none that it does not show."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from stage import Person, Stage
from textual.widgets._footer import FooterKey

THOUGHT = {"pieces": ["<think>", "why", "</think>", "because"]}
MakeStage = Callable[..., Stage]


def alive() -> int:
    gc.collect()
    return sum(isinstance(each, FooterKey) for each in gc.get_objects())


async def test_keys_of_earlier_turns_are_not_kept(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        before = alive()
        for _ in range(6):
            await person.ask("question")  # each shows other keys meanwhile, so makes new ones
        shown = len(stage.app.screen.query(FooterKey))
        assert alive() <= before + 2 * shown


def named(person: Person) -> list[str]:
    """The last line, a key each."""
    keys = person.screen.query(FooterKey)
    return [f"{each.key_display} {each.description}" for each in keys]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("reads", [False, True], ids=["writing", "reading"])
async def test_every_key_of_the_last_line_is_whole_and_leaving_is_among_them(
    make_stage: MakeStage, width: int, reads: bool
) -> None:
    stage = make_stage(**THOUGHT)
    async with stage.app.run_test(size=(width, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        if reads:
            await person.press("ctrl+r")
        await person.until(lambda: ("Esc Write" in named(person)) == reads)
        assert {"F1 Help", "F10 Quit"} < set(named(person))
        right = max(each.region.right for each in person.screen.query(FooterKey))
        assert right <= width + 1  # the gap behind the last one may be cut
        assert ("F9 Settings" in named(person)) == (not reads and width >= 80)


async def test_what_is_done_with_a_message_is_named_first_while_reading(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("ctrl+r")
        of_answer = ["U Useful", "R Again", "B Branch", "C Copy"]
        await person.until(lambda: named(person)[:4] == of_answer)
        await person.press("up")
        await person.until(lambda: named(person)[:3] == ["R Again", "E Edit", "B Branch"])


async def test_more_keys_are_named_when_there_is_more_room(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(50, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.until(lambda: "F10 Quit" in named(person))
        assert "F9 Settings" not in named(person)
        await pilot.resize_terminal(120, 40)
        await person.until(lambda: "F9 Settings" in named(person))
