"""Engines in child processes that are always closed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import StartEcho, echo_file

from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.process import Deadlines, EngineProcess


@pytest.fixture
def start_echo(tmp_path: Path) -> Iterator[StartEcho]:
    """A loaded echo engine in a child: `start_echo(deadlines, **script)`."""
    engines: list[EngineProcess] = []
    numbers = itertools.count()

    def start(deadlines: Deadlines | None = None, **script: Any) -> EngineProcess:
        engine = EngineProcess("echo", deadlines)
        engines.append(engine)
        file = echo_file(tmp_path / f"script-{next(numbers)}.json", **script)
        engine.load(file, LoadOptions(n_ctx=256))
        return engine

    yield start
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def either(either_file: ModelFile) -> Iterator[EngineProcess]:
    """The same model in each native engine's child."""
    engine = EngineProcess(either_file.engine)
    engine.load(either_file, LoadOptions(n_ctx=2048))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def starter(starter_path: Path) -> Iterator[EngineProcess]:
    """The real starter model in a child; a test must not depend on what others asked it."""
    engine = EngineProcess("llama.cpp")
    engine.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=2048))
    yield engine
    engine.close()
