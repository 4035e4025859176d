"""What the child writes: text merged between flushes, in order, and never kept for long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import BinaryIO

import pytest

from ondevice.domain.generation import EngineNotice, TextDelta
from ondevice.engines import wire
from ondevice.engines.worker import WireWriter


def delta(text: str, made: int) -> TextDelta:
    return TextDelta(text, made, made / 10, 5 + made, 0.5)


class Pipe:
    """The two ends of a pipe; lines are read without waiting for more than is there."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reading: BinaryIO = os.fdopen(reading, "rb")
        self.writing: BinaryIO = os.fdopen(writing, "wb")

    def next(self) -> wire.WireMessage:
        return wire.decode(self.reading.readline())


def test_the_first_text_is_written_at_once_and_the_next_is_merged() -> None:
    pipe = Pipe()
    writer = WireWriter(pipe.writing)
    writer.post(delta("a", 1))
    assert pipe.next() == delta("a", 1)
    writer.post(delta("b", 2))
    writer.post(delta("c", 3))
    writer.post(EngineNotice("threads", "now 1"))
    read = [pipe.next()]
    while not isinstance(read[-1], EngineNotice):
        read.append(pipe.next())
    texts = [message for message in read if isinstance(message, TextDelta)]
    assert "".join(one.text for one in texts) == "bc"
    assert texts[-1].completion_tokens == 3


def test_text_that_nothing_follows_is_written_by_itself() -> None:
    pipe = Pipe()
    writer = WireWriter(pipe.writing)
    writer.post(delta("a", 1))
    writer.post(delta("b", 2))
    assert [pipe.next(), pipe.next()] == [delta("a", 1), delta("b", 2)]


def test_messages_of_many_threads_are_whole_lines() -> None:
    pipe = Pipe()
    writer = WireWriter(pipe.writing)
    threads = [
        threading.Thread(
            target=lambda: [writer.post(EngineNotice("x", "y" * 500)) for _ in range(50)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert [pipe.next() for _ in range(200)] == [EngineNotice("x", "y" * 500)] * 200


@pytest.mark.parametrize(
    ("said", "exit_code", "last_word"),
    [
        pytest.param(b"", 0, "", id="nothing"),
        pytest.param(b"no message\n", 1, "not a wire message", id="garbage"),
    ],
)
def test_a_worker_ends_when_the_parent_says(said: bytes, exit_code: int, last_word: str) -> None:
    command = [sys.executable, "-m", "ondevice.engines.worker", "echo", str(os.getpid())]
    done = subprocess.run(command, input=said, capture_output=True, timeout=30, check=False)
    assert done.returncode == exit_code
    assert isinstance(wire.decode(done.stdout), wire.Hello)
    assert last_word in done.stderr.decode()


def test_a_worker_started_for_a_parent_that_is_gone_ends_at_once() -> None:
    command = [sys.executable, "-m", "ondevice.engines.worker", "echo", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.wait(30) == 1  # although its pipe is open
