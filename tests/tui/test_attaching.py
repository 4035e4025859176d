"""Files that a question names, on the screen."""

from __future__ import annotations

from collections.abc import Callable

from stage import Person, Stage

MakeStage = Callable[..., Stage]


async def test_a_question_whose_file_is_missing_comes_back(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.write("What is in @missing.txt?")
        await person.press("enter")
        await person.until(lambda: person.bubbles() and person.bubbles()[-1][0] == "ondevice")
        assert "missing.txt cannot be attached: there is no such file" in person.bubbles()[-1][1]
        assert person.composer.text == "What is in @missing.txt?"
        assert stage.stored() == []
