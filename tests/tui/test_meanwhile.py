"""What is pressed while something else is under way: a load, a commit, the start of an engine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kept_sessions import PausingChat
from stage import Person, Stage
from terminal import Terminal
from textual.widgets import DataTable

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import EngineInfo, LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.storage.sessions import Sessions

MakeStage = Callable[..., Stage]

LONG = {"pieces": ["word "], "repeat": 3000, "delay_s": 0.02}
"""A minute: an answer that was not stopped fails its test."""


class LateChat(Chat):
    """A chat whose first load is a while before it says that it is done."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.first_loaded, self.go_on, self.returned = (threading.Event() for _ in range(3))

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        info = super().load(file, options, progress)
        if not self.first_loaded.is_set():
            self.first_loaded.set()
            self.go_on.wait()
            self.returned.set()
        return info


class HastyChat(Chat):
    """A chat that is cancelled before a thread has taken up its turn."""

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        events = super().send(text, sampling, max_tokens)
        self.cancel()
        return events


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The database is held by another connection, so that commits wait."""
    path = folder / "data" / "ondevice.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def choose(person: Person, model: str) -> None:
    await person.press("f2")
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
    await person.press("slash", *model, "enter", "enter")


async def test_another_model_chosen_while_one_loads_is_no_failure(make_stage: MakeStage) -> None:
    stage = make_stage(load_hangs=True)
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(lambda: "loading echo-model" in person.text("#running"))
        await person.until(lambda: stage.chat.file is not None)
        await choose(person, "second")
        await person.ready()
        assert "second-model" in person.text("#running")
        assert person.bubbles() == []
        await person.ask("question")
        assert person.bubbles()[-1] == ("second-model", "second")


async def test_a_model_that_is_ready_too_late_is_not_the_one_that_answers(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=LateChat, pieces=["first"])
    stage.add("second-model", load_hangs=True)
    assert isinstance(stage.chat, LateChat)
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(stage.chat.first_loaded.is_set)
        await choose(person, "second")
        await person.until(lambda: stage.chat.file and stage.chat.file.name == "second-model")
        stage.chat.go_on.set()
        await person.until(stage.chat.returned.is_set)
        await person.send("question")
        assert person.facts()[-1] == "waiting for the model"
        assert person.text("#running") == "loading second-model"
        stage.chat.close()


async def test_a_name_without_a_file_leaves_the_model_that_answers(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        stage.app._load_model("absent-model")
        await person.until(person.bubbles)
        assert "absent-model is not on this machine" in person.bubbles()[0][1]
        assert "echo-model Q4_K_M" in person.text("#running")
        await person.ask("question")
        assert person.bubbles()[-1] == ("echo-model", "yes")


async def test_escape_counts_before_the_engine_has_begun(make_stage: MakeStage) -> None:
    stage = make_stage(**LONG)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        with locked(stage.folder):
            await person.send("question")
            await person.until(lambda: "thinking" in person.facts())
            await person.press("escape")
            assert "stopping" in person.facts()
        await person.until(lambda: not person.busy)
        assert "stopped" in person.facts()[1]
        question, answer = stage.stored()
        assert (question.content, answer.state) == ("question", "interrupted")
        assert answer.finish_reason == "cancelled"


def test_leaving_before_the_engine_has_begun_does_not_wait_for_the_answer(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = open_terminal(**LONG)
    terminal.wait_ready()
    with locked(tmp_path):
        terminal.write("question\r")
        terminal.expect("thinking")
        terminal.write("f10")
        terminal.read_until(lambda: b"\x1b[?1049l" in terminal.raw)
    assert terminal.exit_code() == 0
    stage = Stage(tmp_path)
    question, answer = stage.stored()
    stage.close()
    assert (question.content, answer.state) == ("question", "interrupted")
    assert answer.finish_reason == "cancelled"


async def test_escape_counts_before_a_thread_has_taken_up_the_turn(make_stage: MakeStage) -> None:
    stage = make_stage(make_chat=HastyChat, **LONG)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        assert stage.stored()[1].finish_reason == "cancelled"


async def test_a_turn_lasts_until_its_answer_is_stored_and_then_the_next_begins(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ondevice.chat.answer.SAVE_EVERY_S", 600.0)
    stage = make_stage(make_chat=PausingChat, pieces=["word "], repeat=10)
    assert isinstance(stage.chat, PausingChat)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("first")
        await person.until(lambda: "word" in person.bubbles()[-1][1])
        with locked(stage.folder):
            stage.chat.may_end.set()
            await person.until(lambda: person.facts()[1].startswith("10 tok"))
            await person.write("second")
            await person.press("enter")
            assert "escape" not in person.screen.active_bindings
            await person.press("escape")
            assert person.facts()[1].startswith("10 tok")
            assert len(person.bubbles()) == 2
        await person.until(lambda: len(stage.chat.conversation.messages) == 4)
        told = [(m.role, m.content) for m in stage.chat.conversation.messages]
        answer = ("assistant", "word " * 10)
        assert told == [("user", "first"), answer, ("user", "second"), answer]
        await person.until(lambda: not person.busy)
