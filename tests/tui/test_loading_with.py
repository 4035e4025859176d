"""What answers are made with beside a model: LoRA adapters, a JSON schema, a kept state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from adapters import write_adapter
from stage import Person, Stage
from textual.widgets import Input

from ondevice.chat import Chat
from ondevice.domain.generation import Adapter
from ondevice.domain.model import ModelFile
from ondevice.storage.sessions import Sessions
from ondevice.tui.screens.edit import EditScreen

MakeStage = Callable[..., Stage]


@pytest.fixture
def starter(starter_path: Path) -> ModelFile:
    return ModelFile(starter_path, "llama.cpp", "starter")


async def test_an_adapter_named_at_the_start_is_loaded_and_named(
    make_stage: MakeStage, starter: ModelFile, tmp_path: Path
) -> None:
    stage = make_stage().use(starter)
    down, up = np.zeros((4, 1536)), np.zeros((576, 4))
    stage.adapters = (Adapter(write_adapter(tmp_path / "style.gguf", down, up), 0.5),)
    stage.app = stage.make_app("echo-model")
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        assert "starter + style" in person.text("#running")
        assert stage.chat.info is not None
        assert stage.chat.info.adapters == stage.adapters
        assert not person.app.chat_screen.can_reload
        person.app.chat_screen.load(starter)  # chosen again
        assert "loading" in person.text("#running")
        await person.ready()
        assert stage.chat.options.adapters == stage.adapters
        person.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: "second-model" in person.text("#running"))
        await person.ready()
        assert stage.chat.options.adapters == ()


async def test_layers_asked_for_at_the_start_hold_for_every_model(
    make_stage: MakeStage, starter: ModelFile
) -> None:
    stage = make_stage().use(starter)
    stage.gpu_layers = "all"
    stage.app = stage.make_app("echo-model")
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        assert stage.chat.options.gpu_layers == "all"
        assert "llama.cpp CPU" in person.text("#running")
        told = [notice.message for notice in person.app._notifications]
        assert "this build of llama.cpp has no GPU support: CPU only" in told
        assert not person.app.chat_screen.can_reload
        person.app.chat_screen.load(stage.files["second-model"])
        await person.until(lambda: "second-model" in person.text("#running"))
        await person.ready()
        assert stage.chat.options.gpu_layers == "all"


async def test_an_adapter_that_is_none_is_told_and_no_model_answers(
    make_stage: MakeStage, starter: ModelFile, tmp_path: Path
) -> None:
    stage = make_stage().use(starter)
    stage.adapters = (Adapter(tmp_path / "none.gguf"),)
    stage.app = stage.make_app("echo-model")
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = Person(stage, pilot)
        await person.until(lambda: person.bubbles())
        assert "none.gguf" in person.bubbles()[-1][1]
        assert person.text("#running") == "no model"
        person.app.chat_screen.load(starter)  # chosen again, without what it was refused for
        await person.ready()
        assert stage.chat.options.adapters == ()


async def chosen(person: Person, name: str) -> None:
    """Have answers keep to the schema in a file; empty for none."""
    await person.app.run_action("screen.schema")
    await person.until(lambda: isinstance(person.screen, EditScreen) and person.screen.query(Input))
    person.screen.query_one(Input).value = name
    await person.press("enter")
    await person.until(lambda: not isinstance(person.screen, EditScreen))


async def test_answers_keep_to_a_schema_in_the_session_it_was_chosen_for(
    make_stage: MakeStage, starter: ModelFile, tmp_path: Path
) -> None:
    (tmp_path / "[colour].json").write_text('{"enum": ["red", "green"]}')
    stage = make_stage(settings="context = 512\nmax_tokens = 8\n").use(starter)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await chosen(person, str(tmp_path / "[colour].json"))
        assert "Answers keep to " in str(person.composer.border_title)
        await person.ask("Name a colour.")
        assert stage.stored()[-1].content in ('"red"', '"green"')
        await person.press("f8")
        assert not person.composer.border_title
        assert stage.chat.schema is None


async def test_a_schema_that_is_not_understood_gives_the_question_back(
    make_stage: MakeStage, starter: ModelFile, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text('{"type": "thing"}')
    stage = make_stage(settings="context = 512\nmax_tokens = 8\n").use(starter)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await chosen(person, str(tmp_path / "bad.json"))
        await person.write("Name a colour.")
        await person.press("enter")
        await person.until(lambda: person.bubbles() and not person.busy)
        assert "is not understood" in person.bubbles()[-1][1]
        assert person.composer.text == "Name a colour."
        await chosen(person, "")
        await person.press("enter")
        await person.until(lambda: len(stage.stored()) == 2 and not person.busy)


async def test_a_schema_that_is_no_file_is_not_taken(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.app.run_action("screen.schema")
        await person.until(
            lambda: isinstance(person.screen, EditScreen) and person.screen.query(Input)
        )
        await person.press(*"none.json", "enter")
        assert isinstance(person.screen, EditScreen)
        await person.press("escape")
        assert stage.chat.schema is None


async def test_what_was_read_is_saved_while_nobody_waits(
    make_stage: MakeStage, starter: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ondevice.tui.meanwhile.SAVE_AFTER_S", 0.2)

    def with_hash(sessions: Sessions) -> Chat:
        return Chat(sessions, model_hash=lambda _file, _read: "5" * 64)

    stage = make_stage(make_chat=with_hash, settings="max_tokens = 4\n").use(starter)
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Name a colour.")
        await person.until(lambda: list(tmp_path.rglob("1-*.state")))
        await person.ask("And another.")
        assert len(stage.stored()) == 4
