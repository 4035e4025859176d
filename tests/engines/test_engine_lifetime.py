"""A child ends with its parent, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from driving import StartEcho, child_pids, echo_file, pid_of, say

from ondevice.domain.generation import LoadOptions
from ondevice.engines.process import EngineProcess

PARENT = """
import sys
from pathlib import Path
from ondevice.domain.generation import GenerationRequest, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.engines.process import EngineProcess

engine = EngineProcess("echo")
info = engine.load(ModelFile(Path(sys.argv[1]), "echo", "x"), LoadOptions())
answer = engine.generate(GenerationRequest(Prompt.chat("hello")))
next(answer)
print(info.pid, flush=True)
sys.stdin.read()
"""


ASKED = """
import os, signal, sys, threading, traceback
from pathlib import Path
from ondevice import errors
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.engines.process import EngineProcess

def interrupt():  # a Ctrl-C, as soon as the answer is waited for
    main = threading.main_thread().ident
    while "receive" not in [f.name for f in traceback.extract_stack(sys._current_frames()[main])]:
        pass
    signal.pthread_kill(main, signal.SIGINT)

engine = EngineProcess("echo")
info = engine.load(ModelFile(Path(sys.argv[1]), "echo", "x"), LoadOptions())
print(info.pid, flush=True)
os.kill(info.pid, signal.SIGSTOP)  # so the answer comes too late
threading.Thread(target=interrupt).start()
try:
    engine.count_tokens(Prompt.chat("one two three"))
except KeyboardInterrupt:
    print("interrupted", flush=True)
try:
    engine.count_tokens(Prompt.chat("one"))
except errors.EngineClosed:
    print("closed", flush=True)
sys.stdin.read()
"""


@contextmanager
def parent(
    tmp_path: Path, code: str = PARENT
) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A process with an engine; that of PARENT is in the middle of an answer."""
    file = echo_file(tmp_path / "slow.json", delay_s=600.0)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        yield process, psutil.Process(int(process.stdout.readline()))


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def vanished(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=10)
    return not alive


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, child):
        process.kill()
        assert vanished(child)


def test_a_stopped_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, child):
        child.suspend()
        process.kill()
        assert vanished(child)


def test_a_parent_that_ends_without_closing_leaves_no_child_and_no_error(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, child):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert vanished(child)


def test_a_ctrl_c_while_it_is_asked_ends_the_child_as_its_answer_still_comes(
    tmp_path: Path,
) -> None:
    with parent(tmp_path, ASKED) as (process, child):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"interrupted\n"
        assert process.stdout.readline() == b"closed\n"
        assert vanished(child)
        process.stdin.close()
        assert process.wait(30) == 0


def test_the_child_ends_when_its_pipe_closes(start_echo: StartEcho) -> None:
    engine = start_echo()
    assert engine._child is not None
    child = psutil.Process(pid_of(engine))
    engine._child._outbox.put(None)  # what the parent's thread does at its end
    assert vanished(child)


def test_the_child_outlives_the_thread_that_loaded(tmp_path: Path) -> None:
    engine = EngineProcess("echo")
    file = echo_file(tmp_path / "x.json")
    loader = threading.Thread(target=engine.load, args=(file, LoadOptions()))
    loader.start()
    loader.join(30)
    assert say(engine)
    engine.close()


@pytest.mark.parametrize("end", ["close", "kill", "drop"])
def test_loading_and_ending_leaves_no_process_thread_or_descriptor(
    tmp_path: Path, end: str
) -> None:
    file = echo_file(tmp_path / "x.json")

    def once() -> None:
        engine = EngineProcess("echo")
        engine.load(file, LoadOptions())
        if end == "kill":
            psutil.Process(pid_of(engine)).kill()
            with pytest.raises(Exception, match="SIGKILL"):
                say(engine)
        if end == "drop":
            engine.load(file, LoadOptions())
        engine.close()

    once()
    before = open_files(), threading.active_count(), child_pids()
    for _ in range(20 if end == "close" else 5):
        once()
    after = open_files(), threading.active_count(), child_pids()
    assert after == before
