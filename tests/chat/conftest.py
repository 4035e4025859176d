"""A chat with a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chatting import open_chat

from ondevice.chat import Chat
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ondevice.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, busy_s=0.1)) as database:
        yield database


@pytest.fixture
def chat(database: Database) -> Iterator[Chat]:
    with open_chat(Sessions(database)) as chat:
        yield chat
