"""A bug in the app ends it at once, with everything that was said kept."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest
from stage import Person, Stage, wait_until

from ondevice.tui.widgets.bubble import Answer

MakeStage = Callable[..., Stage]


async def test_a_bug_while_an_answer_streams_ends_the_engine_too(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    stage = make_stage(pieces=["word "], repeat=2000, delay_s=0.05)
    process = None

    async def use() -> None:
        nonlocal process
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            info = stage.chat.info
            assert info is not None
            process = psutil.Process(info.pid)
            await person.send("question")
            await person.until(lambda: len(person.bubbles()) == 2 and person.bubbles()[1][1])
            monkeypatch.setattr(Answer, "write", broken)
            await wait_until(pilot, lambda: stage.app.return_code)

    with pytest.raises(ZeroDivisionError):
        await use()
    assert isinstance(stage.app.bug, ZeroDivisionError)
    assert process is not None
    process.wait(timeout=5)  # it would have gone on for 100 s
    until = time.monotonic() + 20
    while [message.state for message in stage.stored()] != ["complete", "interrupted"]:
        assert time.monotonic() < until
    assert stage.stored()[1].content.startswith("word")
