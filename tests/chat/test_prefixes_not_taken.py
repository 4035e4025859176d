"""A saved state that is not taken up for a reason that is not its own stays where it is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chatting import states
from tiny import TINY

from ondevice.chat.prefixes import Prefixes
from ondevice.domain.generation import (
    GREEDY,
    EngineInfo,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.process import EngineProcess
from ondevice.errors import EngineClosed, EngineCrashed
from ondevice.gguf.shapes import write_shape
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


class Start:
    """What a start of the app has: an engine, and what keeps its states."""

    def __init__(self, sessions: Sessions, engine: EngineProcess, file: ModelFile) -> None:
        self.prefixes = Prefixes(sessions, lambda _file, _read: "1" * 64)
        self.engine, self._file = engine, file

    def load(self) -> EngineInfo:
        self.prefixes.release(self._file)
        info = self.engine.load(self._file, LoadOptions(n_ctx=512))
        self.prefixes.serve(self.engine, info, self._file)
        return info


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    write_shape(TINY, "F16", tmp_path / "model.gguf")
    return ModelFile(tmp_path / "model.gguf", "llama.cpp", "tiny")


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
def start(sessions: Sessions, model: ModelFile) -> Iterator[Start]:
    """After one that saved the state of session 1."""
    with closing(EngineProcess("llama.cpp")) as engine:
        first = Start(sessions, engine, model)
        first.load()
        list(engine.generate(GenerationRequest(Prompt.chat("Say yes."), GREEDY, 4)))
        first.prefixes.note_turn(sessions.create("Say yes.").id)
        first.prefixes.release()
        yield Start(sessions, engine, model)


def test_as_the_engine_is_closed(start: Start, tmp_path: Path) -> None:
    os.kill(start.load().pid, signal.SIGSTOP)  # so that it does not come to it
    closer = threading.Thread(target=start.engine.close)
    closer.start()
    with pytest.raises(EngineClosed):
        start.prefixes.settle(1)
    closer.join(30)
    assert states(tmp_path) == ["1.state"]


def test_as_an_answer_is_made(start: Start, tmp_path: Path) -> None:
    start.load()
    events = start.engine.generate(GenerationRequest(Prompt.chat("Say no."), GREEDY, 400))
    next(events)
    (notice,) = start.prefixes.settle(1)
    assert notice.message == "the engine is busy"
    start.engine.cancel()
    list(events)
    assert states(tmp_path) == ["1.state"]


def test_as_the_engine_is_killed_and_only_the_next_start_tries_it_again(
    start: Start, sessions: Sessions, model: ModelFile, tmp_path: Path
) -> None:
    os.kill(start.load().pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed):
        start.prefixes.settle(1)
    assert states(tmp_path) == ["1.state"]
    start.load()
    assert start.prefixes.settle(1) == []
    assert start.engine.state_bytes() == 0
    following = Start(sessions, start.engine, model)
    following.load()
    assert following.prefixes.settle(1) == []
    assert start.engine.state_bytes() > 0
