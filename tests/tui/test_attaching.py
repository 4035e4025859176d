"""Files that a question names, on the screen."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from stage import PATIENCE_S, Person, Stage

from ondevice.chat import Chat
from ondevice.domain.session import StoredMessage
from ondevice.storage.sessions import Sessions
from ondevice.tui.waiting import Wanted

MakeStage = Callable[..., Stage]
NOTES = ("notes.txt", "word " * 200)


def cost(person: Person) -> str:
    """What is said below the question that is written."""
    return str(person.composer.border_subtitle or "")


async def test_the_cost_of_a_file_is_shown_while_the_question_is_written(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.attachable(*NOTES)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.write("What is in @notes.txt")
        await person.until(lambda: cost(person) == "notes.txt: +203 tokens, 10 % of the window")
        before = stage.chat.count("What is in @notes.txt").prompt.attached
        assert before == 203
        await person.write(" and @none.txt")
        told = "none.txt cannot be attached: there is no such file"
        await person.until(lambda: cost(person) == told)
        person.composer.text = "What is in it?"
        await person.until(lambda: cost(person) == "")
        assert stage.stored() == []


async def test_the_cost_of_a_file_that_has_no_room_says_so(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"], settings="context = 100\n")
    stage.attachable(*NOTES)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.write("What is in @notes.txt")
        told = "notes.txt: +203 tokens, 203 % of the window · no room for it"
        await person.until(lambda: cost(person) == told)


async def test_a_file_named_while_an_answer_is_made_is_counted_after_it(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    stage.attachable(*NOTES)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("first")
        await person.write("What is in @notes.txt")
        await person.press("escape")
        await person.until(lambda: cost(person) == "notes.txt: +203 tokens, 10 % of the window")
        assert not person.busy


async def test_a_sent_question_names_its_files_also_when_it_is_opened_again(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.attachable(*NOTES)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("What is in @notes.txt?")
        await person.ask("And then?")
        assert person.facts()[::2] == ["with notes.txt", ""]
        await person.press("f8")
        assert person.bubbles() == []
        person.app.chat_screen.open(Wanted(stage.sessions.get(1)))
        await person.until(person.bubbles)
        assert person.facts()[::2] == ["with notes.txt", ""]


class SlowChat(Chat):
    """A chat that takes its time to read the files of a draft."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.drafts: list[str] = []
        self.go_on = threading.Event()

    def draft(self, text: str) -> list[StoredMessage]:
        self.drafts.append(text)
        self.go_on.wait(PATIENCE_S)
        return super().draft(text)


async def test_drafts_are_counted_one_at_a_time_and_the_newest_last(make_stage: MakeStage) -> None:
    stage = make_stage(make_chat=SlowChat, pieces=["yes"])
    stage.attachable(*NOTES)
    chat = stage.chat
    assert isinstance(chat, SlowChat)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        counting = person.app.chat_screen._meanwhile
        await person.write("@notes.txt")
        await person.until(lambda: chat.drafts)
        for word in (" one", " two", " three"):
            await person.write(word)
            counting._count()  # as when nothing was written for a while
        assert not [each for each in person.screen.workers if each.group == "draft"][1:]
        chat.go_on.set()
        await person.until(lambda: cost(person).startswith("notes.txt: +203 tokens"))
        assert chat.drafts == ["@notes.txt", "@notes.txt one two three"]


async def test_an_engine_that_ends_while_a_file_is_counted_is_told_and_asked_no_question(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    stage.attachable(*NOTES)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        assert stage.chat.info is not None
        os.kill(stage.chat.info.pid, signal.SIGKILL)
        await person.write("What is in @notes.txt")
        await person.until(lambda: "F5 loads it again" in person.text("#running"))
        assert any("signal SIGKILL" in notice for notice in person.notices())
        await person.press("enter")
        await person.until(lambda: "No model is ready." in person.notices()[-1])
        assert person.composer.text == "What is in @notes.txt"
        assert stage.stored() == []
        await person.press("f5")
        await person.ready()


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
