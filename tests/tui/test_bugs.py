"""A bug in the app ends it at once, with everything that was said kept."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest
from stage import Person, Stage, wait_until

from ondevice.tui.downloads import Form
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


async def test_a_bug_ends_a_download_that_says_nothing(make_stage: MakeStage) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    stage = make_stage(pieces=["yes"])
    form = Form("absent-model", "echo", "Q4_K_M", "absent-model.gguf")
    stage.fetched = [{"event": "notice", "code": "waiting", "message": "another one fetches it"}]
    before = set(psutil.Process().children())
    fetching: list[psutil.Process] = []

    async def use() -> None:
        async with stage.app.run_test() as pilot:
            await Person(stage, pilot).ready()
            stage.app.downloads.add(form)
            await wait_until(pilot, lambda: (row := stage.app.downloads.get(form)) and row.said)
            new = set(psutil.Process().children()) - before
            fetching.extend(each for each in new if "absent-model" in each.cmdline())
            stage.app.call_later(broken)
            await wait_until(pilot, lambda: stage.app.return_code)

    with pytest.raises(ZeroDivisionError):
        await use()
    (process,) = fetching
    process.wait(timeout=20)  # it would have waited for an hour
