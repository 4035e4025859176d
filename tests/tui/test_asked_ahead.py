"""A question that is sent before the model is there, or as the app is left: nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kept_sessions import keep
from stage import BASELINES, PATIENCE_S, Person, Stage
from terminal import Terminal
from test_leaving import stored
from test_meanwhile import locked
from test_meter import SlowPrices
from textual.widgets import TextArea

from ondevice.chat import Chat
from ondevice.domain.generation import EngineInfo, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.storage.sessions import Sessions
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.waiting import Wanted

MakeStage = Callable[..., Stage]
OpenTerminal = Callable[..., Terminal]
THINKS = ["<think>", "why", "</think>", "because"]


class HeldChat(Chat):
    """A chat that loads no model before it may."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.may_load = threading.Event()

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        progress(0.5)
        assert self.may_load.wait(PATIENCE_S)
        return super().load(file, options, progress)


async def begin(person: Person) -> HeldChat:
    """Ask while the model is loaded."""
    await person.until(lambda: "50%" in person.text("#running"))
    await person.send("question")
    await person.until(lambda: person.stage.stored())
    chat = person.stage.chat
    assert isinstance(chat, HeldChat)
    return chat


async def test_a_question_waits_for_its_model_and_is_answered(make_stage: MakeStage) -> None:
    stage = make_stage(make_chat=HeldChat, pieces=THINKS)
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        assert person.facts()[-1] == "waiting for the model"
        assert [(m.role, m.content) for m in stage.stored()] == [("user", "question")]
        chat.may_load.set()
        await person.until(lambda: not person.busy)
        assert person.bubbles() == [("You", "question"), ("echo-model", "because")]
        assert [m.role for m in stage.stored()] == ["user", "assistant"]
        await person.ask("next")
        assert len(stage.stored()) == 4


async def test_a_second_question_stays_in_the_composer_while_one_waits(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat, pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        await person.send_refused("second")
        assert "Esc stops" in person.notices()[-1]
        chat.may_load.set()
        await person.until(lambda: not person.busy)


async def test_escape_ends_the_wait_and_the_next_question_is_answered(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat, pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        await person.press("escape")
        await person.until(lambda: not person.busy)
        assert person.bubbles() == [("You", "question")]
        chat.may_load.set()
        await person.ready()
        assert [(m.role, m.content) for m in stage.stored()] == [("user", "question")]
        await person.ask("next")
        assert [m.content for m in stage.stored()] == ["question", "next", "yes"]


async def test_a_question_without_an_answer_is_answered_where_it_stands(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat, pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        await person.press("escape")
        await person.until(lambda: not person.busy)
        chat.may_load.set()
        await person.ready()
        await person.press("ctrl+r", "r")
        await person.until(lambda: len(person.bubbles()) == 2 and not person.busy)
        assert person.bubbles() == [("You", "question"), ("echo-model", "yes")]
        await person.press("u")
        await person.until(lambda: stage.stored()[1].useful)
    assert [m.content for m in stage.stored()] == ["question", "yes"]


async def test_of_the_last_question_without_an_answer_the_palette_makes_one(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    open_ended = keep(stage, "Rain?", "Rain?", "Perhaps.", "Eggs?")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        stage.app.chat_screen.open(Wanted(open_ended))
        await person.until(lambda: len(person.bubbles()) == 3 and not person.busy)
        commands = stage.app.get_system_commands(person.screen)
        next(each for each in commands if each.title == "Again").callback()
        await person.until(lambda: len(person.bubbles()) == 4 and not person.busy)
    assert [m.content for m in stage.stored()] == ["Rain?", "Perhaps.", "Eggs?", "yes"]


async def test_a_model_that_does_not_load_gives_the_question_back_and_says_why(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat, load_signal="SIGABRT", stderr="unknown architecture")
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        chat.may_load.set()
        await person.until(lambda: not person.busy)
        ((who, said),) = person.bubbles()
        assert who == "ondevice"
        assert "unknown architecture" in said
        assert "F2 shows what is on this machine" in said
        assert person.composer.text == "question"
        (kept,) = stage.sessions.tree(stage.sessions.recent()[0].id).messages
        assert kept.content == "question"  # on a path of its own
        assert stage.chat.conversation.messages == []
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.ready()
        await person.until(lambda: not person.bubbles())  # it is past


@pytest.mark.parametrize("ending", ["F10", "SIGTERM", "SIGKILL"])
def test_a_question_that_waits_for_its_model_is_stored_when_the_app_ends(
    open_terminal: OpenTerminal, ending: str, tmp_path: Path
) -> None:
    terminal = open_terminal(load_hangs=True)
    terminal.expect("loading")
    terminal.write("question\r")
    terminal.expect("waiting for the model")
    terminal.read_until(lambda: stored(tmp_path))
    if ending == "F10":
        terminal.write("f10")
    else:
        terminal.signal(signal.Signals[ending])
    codes = {"F10": 0, "SIGTERM": 128 + signal.SIGTERM, "SIGKILL": -signal.SIGKILL}
    assert terminal.exit_code() == codes[ending]
    assert [(m.role, m.content) for m in stored(tmp_path)] == [("user", "question")]


def test_a_question_that_waits_behind_something_else_is_stored_when_the_app_is_left(
    open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    terminal = open_terminal(pieces=["yes"])
    terminal.wait_ready()
    terminal.write("first\r")
    terminal.read_until(lambda: [m for m in stored(tmp_path) if m.content == "yes"])
    terminal.write("\x12")  # Ctrl+R: read
    terminal.expect("Copy code")
    with locked(tmp_path):
        terminal.write("b")  # another head, which is to be stored
        terminal.write("\x1b")
        terminal.expect("Ctrl+R Read")
        terminal.write("second @missing.txt")
        terminal.expect("second")
        terminal.write("\r")
        terminal.expect("Ask anything")
        terminal.write("f10")
        terminal.read_until(lambda: b"\x1b[?1049l" in terminal.raw)
    assert terminal.exit_code() == 0
    asked = [m.content for m in stored(tmp_path) if m.role == "user"]
    assert asked == ["first", "second @missing.txt"]


async def test_an_edited_question_waits_for_its_model_in_the_place_of_the_first(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat)  # it answers with the question
    assert isinstance(stage.chat, HeldChat)
    stage.chat.may_load.set()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("one")
        await person.ask("two")
        stage.chat.may_load.clear()
        stage.app.chat_screen.load(stage.files["second-model"])
        await person.press("ctrl+r", "up", "up", "up", "e")
        await person.until(lambda: isinstance(person.screen, EditScreen))
        person.screen.query_one(TextArea).text = "other"
        await person.press("enter")
        await person.until(lambda: "waiting for the model" in person.facts()[-1])
        assert [words for who, words in person.bubbles() if who == "You"] == ["other"]
        await person.until(lambda: [m.content for m in stage.stored()] == ["other"])
        stage.chat.may_load.set()
        await person.until(lambda: not person.busy)
        assert person.bubbles() == [("You", "other"), ("second-model", "second")]
        assert person.facts()[0] == "2 of 2"
    assert len(stage.sessions.tree(stage.sessions.recent()[0].id).messages) == 6


def test_an_edited_question_is_stored_in_its_place_that_is_sent_as_the_app_is_left(
    open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    terminal = open_terminal()
    terminal.wait_ready()
    terminal.write("one\r")
    terminal.read_until(lambda: [m.state for m in stored(tmp_path)] == ["complete"] * 2)
    terminal.write("\x12")  # Ctrl+R reads, from the last message on
    terminal.expect("Copy code")
    terminal.write("k")
    terminal.expect("E Edit")
    terminal.write("e")
    terminal.expect("Ask again")
    terminal.write(" more\r\x1b[21~")
    assert terminal.exit_code() == 0
    asked = stored(tmp_path)[0]
    assert (asked.content, asked.parent_id) == ("one more", None)


def test_a_question_is_stored_that_is_sent_with_the_same_breath_as_the_app_is_left(
    open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    terminal = open_terminal(pieces=["yes"])
    terminal.wait_ready()
    terminal.write("question\r\x1b[21~")
    assert terminal.exit_code() == 0
    assert stored(tmp_path)[0].content == "question"


async def test_what_a_question_avoids_that_waited_for_the_first_model_is_stored(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(make_chat=HeldChat, pieces=["yes"])
    stage.baselines = prices = SlowPrices(BASELINES)
    prices.found = threading.Event()
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        chat = await begin(person)
        prices.found.set()
        await person.until(lambda: chat.price)  # looked up while the model is loaded
        chat.may_load.set()
        await person.until(lambda: not person.busy)
        (row,) = stage.database.rows("SELECT usd, baseline FROM answer")
        assert (row["baseline"], row["usd"] is None) == ("small", False)


async def test_a_price_that_is_found_while_the_answer_is_made_is_stored_with_it(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=3000, delay_s=0.02)
    stage.baselines = prices = SlowPrices(BASELINES)
    prices.found = threading.Event()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: "word" in person.bubbles()[-1][1])
        assert stage.chat.price is None
        prices.found.set()
        await person.until(lambda: stage.chat.price)
        await person.press("escape")
        await person.until(lambda: not person.busy)
        (row,) = stage.database.rows("SELECT usd, baseline FROM answer")
        assert (row["baseline"], row["usd"] is None) == ("small", False)
