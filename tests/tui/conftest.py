"""The app with a scripted model, in the test's process or on a terminal of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage import Stage
from terminal import Terminal
from tiny import TINY

from ondevice.domain.model import ModelFile
from ondevice.gguf.shapes import write_shape

MakeStage = Callable[..., Stage]
OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[MakeStage]:
    """`make_stage(**script)`: the app, not yet running, with a model that follows `script`."""
    stages: list[Stage] = []

    def make(**script: Any) -> Stage:
        stages.append(Stage(tmp_path, **script))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """A model that llama.cpp loads and reads in milliseconds, also on a busy machine; what it says
    is noise."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_shape(replace(TINY, context=4096), "F16", path)
    return ModelFile(path, "llama.cpp", "tiny", random_weights=True)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[OpenTerminal]:
    """`open_terminal(**script)`: the app in a process of its own, on a pty.

    Its data are in `tmp_path`, or in the folder below it that is named.
    """
    terminals: list[Terminal] = []

    def start(
        columns: int = 80,
        lines: int = 24,
        folder: str = "",
        env: dict[str, str] | None = None,
        **script: Any,
    ) -> Terminal:
        home = tmp_path / folder
        home.mkdir(exist_ok=True)
        (home / "stage.json").write_text(json.dumps(script))
        terminals.append(Terminal(home, columns, lines, env))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.end()
