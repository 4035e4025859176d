"""The process of an engine as its parent sees it: messages in, messages out, last words.

Nothing here waits for the child without a bound: three threads serve its three pipes, so that
a child that reads nothing cannot hold up whoever sends.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from ondevice.domain.model import ModelFile
from ondevice.engines import wire
from ondevice.hardware import system

LOG_TAIL_BYTES = 8192
TERMINATE_S = 0.5
KILL_S = 5.0
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "GGML_NO_BACKTRACE": "1",  # where gdb is installed, its output would be the last words
}


class _Note(Enum):
    ENDED = "the process is gone"
    WAKE = "look at the deadline again"


class Child:
    """One child process that serves one model file."""

    def __init__(self, engine: str, file: ModelFile) -> None:
        self.file = file
        self.file_mark = mark_of(*file.paths)
        self.turn = threading.Lock()
        """Held by whoever has a request open."""
        self.stop_by = math.inf
        """After a cancel: when it must have stopped, by the monotonic clock."""
        self.on_device = False
        """Whether layers of the model are on a device, as the loaded engine says."""
        self.ended = False
        self.closing = False
        """The end was asked for, so it is no crash."""
        self._engine = engine
        self._inbox: queue.SimpleQueue[wire.WireMessage | _Note] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr = b""
        self._broke_protocol = False
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned = threading.Event()
        # The kernel ends the child with the thread that started it, so this one stays.
        self._owner = threading.Thread(target=self._own, name="engine", daemon=True)
        self._owner.start()
        self._spawned.wait()

    @property
    def size_bytes(self) -> int:
        """Of the model's files when it was started; 0 where one was gone."""
        return self.file_mark[2]

    def send(self, message: wire.WireMessage) -> None:
        """Queue one message; a dead child shows when its answer is read."""
        self._outbox.put(wire.encode(message))

    def receive(self, timeout_s: float) -> wire.WireMessage | None:
        """The next message; None when it ended (see `ended`) or the time is over."""
        until = time.monotonic() + timeout_s
        while not self.ended:
            left = min(until, self.stop_by) - time.monotonic()
            try:
                item = self._inbox.get(timeout=max(0.0, left))
            except queue.Empty:
                return None
            if item is _Note.ENDED:
                self.ended = True
            elif not isinstance(item, _Note):
                return item
        return None

    def expect_stop(self, within_s: float) -> None:
        """Shorten the deadline of whoever waits in `receive`."""
        self.stop_by = time.monotonic() + within_s
        self._inbox.put(_Note.WAKE)

    def exit_reason(self) -> str:
        """How it ended, once it has."""
        if self._process is None:
            return "it could not be started"
        if self._broke_protocol:
            return "it wrote something that is no message"
        return system.exit_reason(self._process.wait())

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return self._stderr.decode("utf-8", "replace").strip()

    def end(self, grace_s: float) -> None:
        """Close its pipe, then terminate, then kill; returns when it is gone."""
        self.closing = True
        self._outbox.put(None)
        process = self._process
        if process is None:
            return
        if not _gone(process, grace_s):
            process.terminate()
            if not _gone(process, TERMINATE_S):  # a stopped process does not see it
                process.kill()
                _gone(process, KILL_S)
        self._owner.join(timeout=KILL_S)

    # The three pipes, each with its thread

    def _own(self) -> None:
        command = [sys.executable, "-P", "-m", "ondevice.engines.worker", self._engine]
        try:
            self._process = subprocess.Popen(
                [*command, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | _ENVIRONMENT | system.huge_pages(os.environ),
                **system.detached_from_terminal(),
            )
        except (OSError, ValueError) as error:  # the latter for a name that cannot be passed on
            self._stderr = str(error).encode("utf-8", "replace")
            self._inbox.put(_Note.ENDED)
            return
        finally:
            self._spawned.set()
        others = [
            threading.Thread(target=self._read_stderr, name="engine-stderr", daemon=True),
            threading.Thread(target=self._write_stdin, name="engine-stdin", daemon=True),
        ]
        for thread in others:
            thread.start()
        self._read_stdout()
        self._process.wait()
        self._outbox.put(None)
        for thread in others:
            thread.join(timeout=1.0)  # bounded: somebody may have inherited its stderr
        self._inbox.put(_Note.ENDED)

    def _read_stdout(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while line := pipe.readline(wire.MAX_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) < wire.MAX_LINE_BYTES:
                    return  # it died while writing
                try:
                    self._inbox.put(wire.decode(line))
                except ValueError:
                    self._broke_protocol = True
                    self._process.kill()
                    return

    def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while chunk := os.read(pipe.fileno(), LOG_TAIL_BYTES):
                self._stderr = (self._stderr + chunk)[-LOG_TAIL_BYTES:]

    def _write_stdin(self) -> None:
        assert self._process is not None
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # a broken pipe shows on the reading side
            while (line := self._outbox.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()


def _gone(process: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


FileMark = tuple[str, int, int, int]


def mark_of(path: Path, *others: Path) -> FileMark:
    """The path, and what changes when a file is replaced or rewritten; zeros when one is gone.

    Of several, or of a folder: the bytes of all files, and the latest change to one of them.
    """
    try:
        found = [each.stat() for each in (path, *others)]
    except (OSError, ValueError):
        return str(path), 0, 0, 0
    inodes = sum(each.st_ino for each in found)
    files = list(_statuses(path)) if stat.S_ISDIR(found[0].st_mode) else found
    latest = max((each.st_mtime_ns for each in files), default=0)
    return str(path), inodes, sum(each.st_size for each in files), latest


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    """Of each file below it that is there: a link can lead nowhere, a file can be gone."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield Path(place, name).stat()
