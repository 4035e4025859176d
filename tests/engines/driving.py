"""Small ways to drive an engine and to read what came back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from ondevice.domain.generation import (
    EngineNotice,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.base import Engine
from ondevice.engines.process import EngineProcess

StartEcho = Callable[..., EngineProcess]
"""What the fixture `start_echo` gives."""

PATIENCE_S = 30.0
"""How long a test waits for what must happen; nothing waits that long when all is well."""


def echo_file(path: Path, **script: Any) -> ModelFile:
    """An echo engine's script as a model file; the fields are those of EchoScript."""
    path.write_text(json.dumps(script))
    return ModelFile(path, "echo", path.name)


def text_of(events: Iterable[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def notices_of(events: Iterable[GenerationEvent]) -> list[str]:
    return [event.code for event in events if isinstance(event, EngineNotice)]


def done_of(events: list[GenerationEvent]) -> GenerationDone:
    assert isinstance(events[-1], GenerationDone)
    assert sum(isinstance(event, GenerationDone) for event in events) == 1
    return events[-1]


def say(engine: Engine, text: str = "one two three", **request: Any) -> list[GenerationEvent]:
    """All events of a one-turn chat."""
    return list(engine.generate(GenerationRequest(Prompt.chat(text), **request)))


def pid_of(engine: EngineProcess) -> int:
    """The child that serves `engine` now."""
    assert engine._child is not None
    assert engine._child._process is not None
    return engine._child._process.pid


def child_pids() -> set[int]:
    """Processes this one has started and not yet reaped."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


class Answer(threading.Thread):
    """An answer that is read in another thread, with events for its milestones."""

    def __init__(self, engine: Engine, request: GenerationRequest) -> None:
        super().__init__(daemon=True)
        self._engine, self._request = engine, request
        self.events: list[GenerationEvent] = []
        self.error: BaseException | None = None
        self.prefill_began = threading.Event()
        self.text_began = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            for event in self._engine.generate(self._request):
                self.events.append(event)
                if isinstance(event, PrefillProgress):
                    self.prefill_began.set()
                if isinstance(event, TextDelta):
                    self.text_began.set()
        except Exception as error:  # handed to the test that waits
            self.error = error

    def wait(self) -> list[GenerationEvent]:
        """Its events once it has ended; the error stays in `error`."""
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the answer did not end"
        return self.events
