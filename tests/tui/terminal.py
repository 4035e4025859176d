"""A real terminal around the app: raw bytes out, keys in, signals, and what is left behind."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import psutil
import pyte
from stage import PATIENCE_S

APP = Path(__file__).with_name("echo_app.py")
KEYS = {
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f8": "\x1b[19~",
    "f9": "\x1b[20~",
    "f10": "\x1b[21~",
    "escape": "\x1b",
    "ctrl+o": "\x0f",
}
POLL_S = 0.05
PASTE, PASTE_END = "\x1b[200~", "\x1b[201~"
RESTORED = {
    "the main screen": b"\x1b[?1049l",
    "a visible cursor": b"\x1b[?25h",
    "no mouse reports": b"\x1b[?1003l",
    "no bracketed paste": b"\x1b[?2004l",
}


class Terminal:
    """The app on a pty."""

    def __init__(
        self, folder: Path, columns: int, lines: int, env: dict[str, str] | None = None
    ) -> None:
        """`env` is of the terminal: TERM and the like; a full-coloured one without it."""
        self.raw = b""
        """Everything the app wrote."""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        of_others = ("TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES")
        own = {name: value for name, value in os.environ.items() if name not in of_others}
        env = own | (env or {"TERM": "xterm-256color", "COLORTERM": "truecolor"})
        self._app = pexpect.spawn(
            sys.executable,
            [str(APP), str(folder)],
            env=env,
            dimensions=(lines, columns),
            timeout=PATIENCE_S,
        )
        self._app.delaybeforesend = None
        assert self._app.pid is not None
        self.process = psutil.Process(self._app.pid)
        """The app's own."""
        self._children: list[psutil.Process] = []

    def text(self) -> str:
        """The screen as a person sees it."""
        return "\n".join(self._screen.display)

    def cells(self) -> Iterator[pyte.screens.Char]:
        """Every cell that shows something."""
        for line in range(self._screen.lines):
            for column in range(self._screen.columns):
                cell = self._screen.buffer[line][column]
                if cell.data.strip():
                    yield cell

    def wait_ready(self) -> Terminal:
        """Until the model answers; remembers the processes, to see them go."""
        self.expect("offline")
        self._children = self.process.children(recursive=True)
        return self

    def expect(self, text: str) -> None:
        """Take what the app writes until `text` stands on the screen."""
        self.read_until(lambda: text in self.text())

    def read_until(self, happened: Callable[[], object]) -> None:
        """Take what the app writes until `happened()` is true."""
        until = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < until, f"it did not happen in time:\n{self.text()}"
            self._take(POLL_S)

    def _take(self, wait_s: float) -> None:
        with contextlib.suppress(pexpect.TIMEOUT):
            data = self._app.read_nonblocking(1 << 16, wait_s)
            self.raw += data
            self._stream.feed(data)

    def write(self, text: str) -> None:
        """Send characters, or a key by its name."""
        self._app.send(KEYS.get(text, text))

    def write_bytes(self, data: bytes) -> None:
        """Send bytes as they are, taking what the app writes meanwhile."""
        while data:
            data = data[os.write(self._app.child_fd, data[: 1 << 12]) :]
            self._take(0)

    def cpu_s(self) -> float:
        """CPU seconds the app has used, without its engine."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._app.setwinsize(lines, columns)

    def signal(self, number: int) -> None:
        self._app.kill(number)

    def close(self) -> None:
        """As when a window is closed: the pty goes, nothing else is sent."""
        os.close(self._app.child_fd)

    def wait_stalled(self) -> None:
        """Take nothing and ask for frames until the app can write no more."""
        waiting, unchanged = -1, 0
        for step in range(int(PATIENCE_S / POLL_S)):
            self.resize(100 + step, 50)
            select.select([], [], [], POLL_S)
            before, waiting = waiting, self._bytes_waiting()
            unchanged = unchanged + 1 if waiting == before else 0
            if unchanged == 20:
                return
        raise AssertionError("it did not stall")

    def _bytes_waiting(self) -> int:
        count = array.array("i", [0])
        fcntl.ioctl(self._app.child_fd, termios.FIONREAD, count)
        return count[0]

    def leave(self) -> int:
        """Press F10, twice where something is written and not sent; the exit code."""
        self.write("f10")
        self.write("f10")
        return self.exit_code()

    def exit_code(self) -> int:
        """Read to the end and wait; a death by signal n is -n."""
        with contextlib.suppress(pexpect.EOF, OSError, ValueError):  # it may be closed
            self.read_until(lambda: False)
        return self.wait_unread()

    def wait_unread(self) -> int:
        """Wait for its end without taking what it writes."""
        until = time.monotonic() + PATIENCE_S
        while self._app.isalive():
            assert time.monotonic() < until, "it did not end"
            select.select([], [], [], POLL_S)
        return self._app.exitstatus if self._app.exitstatus is not None else -self._app.signalstatus

    def left_behind(self) -> list[psutil.Process]:
        """Processes of the engine that did not end."""
        return psutil.wait_procs(self._children, timeout=PATIENCE_S)[1]

    def end(self) -> None:
        """Leave nothing, whatever the test did."""
        for process in [self.process, *self._children]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
