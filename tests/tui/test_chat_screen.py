"""A turn on the screen: sending, stopping, failing, and what is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stage import Person, Stage, visible

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import Sampling
from ondevice.tui.widgets.prose import Prose

MakeStage = Callable[..., Stage]


async def test_sending_shows_the_answer_and_stores_both_messages(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["It is ", "**blue**", "."])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Why is the sky blue?")
        assert person.bubbles() == [
            ("You", "Why is the sky blue?"),
            ("echo-model", "It is **blue**."),
        ]
        assert [(m.role, m.content, m.state) for m in stage.stored()] == [
            ("user", "Why is the sky blue?", "complete"),
            ("assistant", "It is **blue**.", "complete"),
        ]
        assert person.facts()[1].startswith("3 tok")


async def test_the_session_is_named_in_the_border_as_it_was_written(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("[bold]What[/] is [/this")
        title = person.screen.query_one("#conversation")._border_title
        assert title is not None
        assert title.plain == "[bold]What[/] is [/this"


async def test_an_empty_message_is_not_sent(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("space", "enter")
        assert person.bubbles() == []
        assert not person.busy


async def test_the_empty_session_says_what_to_do_and_which_model_answers(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        assert "echo-model Q4_K_M answers on this machine" in person.text("#welcome")
        assert "Enter sends it" in person.text("#welcome")
        await person.ask("hello")
        assert not person.screen.query_one("#welcome").display


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            {"pieces": ["a"], "prefill_steps": 400, "prefill_delay_s": 0.05}, id="prefill"
        ),
        pytest.param({"pieces": ["word "], "repeat": 900, "delay_s": 0.02}, id="decode"),
    ],
)
async def test_escape_stops_and_keeps_the_part(
    make_stage: MakeStage, script: dict[str, object]
) -> None:
    stage = make_stage(**script)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send(" ".join(["long"] * 400))
        decoding = "repeat" in script
        begun = "word" if decoding else "reading the prompt"
        await person.until(lambda: begun in str([person.bubbles(), person.facts()]))
        await person.press("escape")
        await person.until(lambda: not person.busy)
        answer = stage.stored()[1]
        assert answer.state == "interrupted"
        assert ("word" in answer.content) is decoding
        assert "stopped" in person.facts()[1]
        stage.add("echo-model", pieces=["again"])
        await person.press("f8")
        assert "offline" in person.text("#running")


async def test_text_stays_in_the_composer_while_an_answer_is_made(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("first")
        await person.write("second")
        await person.press("enter")
        assert person.composer.text == "second"
        assert "Esc stops" in person.notices()[-1]
        await person.press("escape")
        await person.until(lambda: not person.busy)
        assert len(stage.stored()) == 2


async def test_a_crash_says_why_and_f5_goes_on_with_the_session(make_stage: MakeStage) -> None:
    stage = make_stage(
        pieces=["part "], repeat=9, signal_at=8, delay_s=0.02, stderr="why\nGGML_ASSERT failed"
    )
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        trouble = person.bubbles()[-1][1]
        assert "signal SIGKILL" in trouble
        assert "(GGML_ASSERT failed)" in trouble
        assert "| why" in trouble.splitlines()
        assert "Load the model again" in trouble
        assert stage.stored()[1].state == "interrupted"
        assert stage.stored()[1].content.startswith("part")
        await person.press("f5")
        await person.ready()
        assert person.bubbles()[0] == ("You", "question")
        assert [message.role for message in stage.chat.conversation.messages] == [
            "user",
            "assistant",
        ]


LYING_WORKER = """\
import sys
from ondevice.engines import echo, wire, worker

def lie(self, request):
    yield wire.StateSize(1)

echo.EchoEngine.generate = lie
worker.main("echo", int(sys.argv[-1]))
"""


async def test_an_engine_that_answers_out_of_turn_is_loaded_again_by_f5(
    make_stage: MakeStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n{LYING_WORKER}")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        monkeypatch.undo()
        await person.ask("question")
        assert "out of turn (StateSize)" in person.bubbles()[-1][1]
        assert "F5 loads it again" in person.text("#running")
        assert "f5" in person.screen.active_bindings
        await person.press("f5")
        await person.ready()
        await person.ask("again")
        assert person.bubbles()[-1] == ("echo-model", "yes")


async def test_an_engine_that_was_closed_is_loaded_again_by_f5(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: "word" in person.bubbles()[-1][1])
        stage.chat.close()
        await person.until(lambda: not person.busy)
        assert "closed meanwhile" in person.bubbles()[-1][1]
        assert "f5" in person.screen.active_bindings
        await person.press("f5")
        await person.ready()


async def test_reload_and_stop_are_offered_only_when_they_do_something(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02, signal_at=60)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        assert not {"escape", "f5"} & set(person.screen.active_bindings)
        await person.send("question")
        assert "escape" in person.screen.active_bindings
        await person.until(lambda: not person.busy)
        assert "escape" not in person.screen.active_bindings
        assert "f5" in person.screen.active_bindings


async def test_an_engine_that_dies_while_loading_says_what_to_do(make_stage: MakeStage) -> None:
    stage = make_stage(load_signal="SIGABRT", stderr="unknown architecture")
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(person.bubbles)
        said = person.bubbles()[0][1]
        assert "SIGABRT" in said
        assert "unknown architecture" in said
        assert "F2 shows what is on this machine" in said
        assert person.text("#running") == "no model"


async def test_without_a_model_the_first_run_says_how_to_get_one(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.app = stage.make_app("absent-model")
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(person.bubbles)
        assert person.bubbles() == [
            (
                "ondevice",
                "absent-model is not on this machine\n"
                "F2 shows what is on this machine. Install it first.",
            )
        ]
        await person.write("hello?")
        await person.press("enter")
        assert person.composer.text == "hello?"
        assert "No model is ready" in person.notices()[-1]


async def test_trouble_with_storing_is_said_once_and_the_talk_goes_on(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("first")
        with stage.database.transaction() as connection:
            connection.execute("DROP TABLE found_in")
        await person.ask("second")
        assert len([said for said in person.notices() if "not being saved" in said]) == 1
        assert person.bubbles()[-1] == ("echo-model", "yes")


class BuggyChat(Chat):
    """A chat with a bug, which is no error of ours."""

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        yield from super().send(text, sampling, max_tokens)
        raise ZeroDivisionError("a bug")


async def use_until_it_ends(stage: Stage, *keys: str) -> None:
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press(*keys)
        await person.until(lambda: stage.app.return_code)


async def test_a_bug_in_a_worker_ends_the_app_visibly(make_stage: MakeStage) -> None:
    stage = make_stage(make_chat=BuggyChat, pieces=["yes"])
    with pytest.raises(ZeroDivisionError):
        await use_until_it_ends(stage, *"question", "enter")
    assert stage.app.return_code == 1
    assert [message.state for message in stage.stored()] == ["complete", "complete"]


async def test_a_bug_in_a_worker_of_the_app_ends_it_too(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    stage.baselines["broken"] = ("no number", "0")
    with pytest.raises(ArithmeticError):
        await use_until_it_ends(stage, "f3", *"broken", "enter")


async def test_an_answer_too_long_for_markdown_goes_on_as_it_stands(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["# A heading\n\n", *["0123456789 " * 100] * 40, "**end**"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("much, please")
        await person.until(lambda: person.bubbles()[1][1] == stage.stored()[1].content)
        assert visible(person.screen.query(Prose).last()).startswith("# A heading\n")
        assert visible(person.screen.query(Prose).last()).endswith("**end**")


async def test_an_answer_ends_with_as_many_rows_as_it_fills(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["- one\n", "- two\n", "- three\n", "\nend"], delay_s=0.05)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.until(lambda: person.screen.query(".answer Prose"))
        prose = person.screen.query_one(".answer Prose", Prose)
        await person.until(lambda: prose.shown and prose.size.height > 3)
        await person.until(lambda: not person.busy)
        await person.until(lambda: prose.size.height == 5)
        assert visible(prose) == "• one\n• two\n• three\n\nend"


async def test_html_and_entities_are_shown_as_they_were_written(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["<b>bold</b> &#8238;evil <think>"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("html")
        assert visible(person.screen.query(Prose).last()) == "<b>bold</b> &#8238;evil <think>"
