"""The engine's process killed at any moment of an answer: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from chatting import load, open_chat, say, stored

from ondevice.chat import Chat, Stored
from ondevice.domain.generation import TextDelta
from ondevice.errors import EngineCrashed
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

LONG = {"pieces": ["word "], "repeat": 1000, "delay_s": 0.002}


class Answer:
    """What was shown of an answer until its engine was killed."""

    def __init__(self) -> None:
        self.shown = ""

    def hear(self, chat: Chat, question: str, path: Path, kill_at: int) -> None:
        """Take the answer; kill the engine when it has made `kill_at` tokens."""
        assert chat.info is not None
        pid = chat.info.pid
        for event in say(chat, question):
            if isinstance(event, Stored):
                assert stored(path)[-1] == ("user", question, "complete")
            elif isinstance(event, TextDelta):
                self.shown += event.text
                if event.completion_tokens >= kill_at and psutil.pid_exists(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "times", [pytest.param(5, id="5"), pytest.param(100, id="100", marks=pytest.mark.soak)]
)
def test_a_killed_engine_loses_nothing_that_was_acknowledged(tmp_path: Path, times: int) -> None:
    path = tmp_path / "ondevice.db"
    draw = random.Random(times)
    for number in range(times):
        question = f"question {number}"
        with closing(Database(path)) as database, open_chat(Sessions(database)) as chat:
            load(chat, tmp_path, **LONG)
            assert chat.info is not None
            process = psutil.Process(chat.info.pid)
            answer = Answer()
            with pytest.raises(EngineCrashed, match="SIGKILL"):
                answer.hear(chat, question, path, draw.randrange(1, 60))
        user, (role, content, state) = stored(path)[-2:]
        assert user == ("user", question, "complete")
        assert (role, state) == ("assistant", "interrupted")
        assert content.startswith(answer.shown)
        assert answer.shown
        assert not process.is_running()
    assert len(stored(path)) == 2 * times
