"""Databases that are always closed, and processes that always end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from other_process import start

from ondevice.storage.database import Database

OpenDatabase = Callable[..., Database]
StartProcess = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ondevice.db"


@pytest.fixture
def open_database(path: Path) -> Iterator[OpenDatabase]:
    opened: list[Database] = []

    def open_(busy_s: float = 5.0) -> Database:
        opened.append(Database(path, busy_s))
        return opened[-1]

    yield open_
    for database in opened:
        database.close()


@pytest.fixture
def another_process(path: Path) -> Iterator[StartProcess]:
    """`another_process(code, *arguments)`; see `other_process.OPEN` for what the code can use."""
    started: list[subprocess.Popen[str]] = []

    def start_(code: str, *arguments: object, **more: Any) -> subprocess.Popen[str]:
        started.append(start(code, path, *arguments, **more))
        return started[-1]

    yield start_
    for process in started:
        process.kill()
        process.communicate()
