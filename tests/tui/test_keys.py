"""The last line keeps no keys that it does not show."""

from __future__ import annotations

import gc
from collections.abc import Callable

from stage import Person, Stage
from textual.widgets._footer import FooterKey

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
