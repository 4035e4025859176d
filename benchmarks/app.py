"""The app process on a real terminal: memory, CPU, a large paste, and what it costs the model.

An answer of 600 tokens with code fences is said by the scripted engine, at a given rate; the
decode figures are those of the starter, the app against `ondevice run` for as many tokens.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
from common import ONDEVICE, conditions, ondevice_run, pair_count, pairs, report, starter

ECHO_APP = Path(__file__).parent.parent / "tests" / "tui" / "echo_app.py"
SIZES = ((80, 24), (120, 40))
RATES = (100, 20)
"""Tokens a second: the smallest model on a quick laptop, and one of 1 to 3 billion parameters."""
TOKENS = 600
LAST_WORDS = "that-is-all"
LONGEST_S = 120.0
"""For what must be written sooner, on any machine."""
PASTE = b"\x1b[200~" + b"0123456789abcde " * (10_000_000 // 16) + b"\x1b[201~"
READER = """
import os, sys, tty
tty.setraw(0)
print("ready", flush=True)
left = int(sys.argv[1])
while left > 0:
    left -= len(os.read(0, 1 << 16))
print("done", flush=True)
"""
QUESTION = "Explain with long examples how rivers shape a valley, and how people measure them."

SECTION = """\
To read a large file line by line, open it once and let the file object give you the lines. It \
never holds more than one buffer in memory, so the size of the file does not matter.

```python
from pathlib import Path

def longest_line(path: Path) -> str:
    longest = ""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if len(line) > len(longest):
                longest = line
    return longest
```

- **Memory** stays the same, whatever the file holds.
- **Errors** name the file, because `open` does.
- The result is empty for an empty file.

"""


def pieces() -> list[str]:
    """An answer in pieces of about four characters, as tokens are."""
    text = SECTION * (4 * TOKENS // len(SECTION) + 1)
    return [*(text[at : at + 4] for at in range(0, 4 * TOKENS, 4)), f"\n\n{LAST_WORDS}\n"]


class Screen:
    """The app on a pty whose output is taken, not drawn: drawing would cost a core of its own."""

    def __init__(self, command: list[str], size: tuple[int, int], ready: str = "offline") -> None:
        columns, lines = size
        self._app = pexpect.spawn(command[0], command[1:], dimensions=(lines, columns))
        self._app.delaybeforesend = None
        self._process = psutil.Process(self._app.pid)
        self.new = b""
        """What was written since the last `until`."""
        self.until(ready)

    def take(self, wait_s: float) -> None:
        """Take what was written, waiting for something."""
        with contextlib.suppress(pexpect.TIMEOUT):
            self.new += self._app.read_nonblocking(1 << 16, wait_s)

    def until(self, text: str) -> None:
        """Take until `text` was written; a benchmark that waits for ever says nothing."""
        last = time.monotonic() + LONGEST_S
        while text.encode() not in self.new:
            if time.monotonic() > last:
                sys.exit(
                    f"the app did not show {text!r} in {LONGEST_S:.0f} s, but {self.new[-300:]!r}"
                )
            self.take(1.0)
        self.new = b""

    def settle(self) -> None:
        """Take until nothing is written for a while, as keys go to what has the focus by then."""
        before = -1
        while before != len(self.new):
            before = len(self.new)
            self.take(0.4)
        self.new = b""

    def write(self, data: bytes) -> None:
        """Send `data`, taking what is written meanwhile."""

        def send() -> None:
            left = memoryview(data)
            while left:
                left = left[os.write(self._app.child_fd, left[: 1 << 16]) :]

        sending = threading.Thread(target=send)
        sending.start()
        while sending.is_alive():
            self.take(0.02)

    def cpu_s(self) -> float:
        """CPU seconds so far, without the engine."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def end(self) -> None:
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._app.close(force=True)


@contextlib.contextmanager
def echo(size: tuple[int, int], rate: int) -> Iterator[Screen]:
    """The app over a scripted model, ready."""
    with tempfile.TemporaryDirectory() as folder:
        script = {"pieces": pieces(), "delay_s": 1 / rate}
        (Path(folder) / "stage.json").write_text(json.dumps(script))
        screen = Screen([sys.executable, str(ECHO_APP), folder], size)
        try:
            yield screen
        finally:
            screen.end()


def streaming(size: tuple[int, int], rate: int) -> tuple[float, float]:
    """CPU share of one core while the answer comes, and the largest resident memory in MB."""
    with echo(size, rate) as screen:
        screen.write(b"How do I read a large file?\r")
        screen.until("tok/s")
        began, used, largest = time.perf_counter(), screen.cpu_s(), 0
        while LAST_WORDS.encode() not in screen.new:
            screen.take(0.2)
            largest = max(largest, screen.resident_bytes())
        took = time.perf_counter() - began
        return (screen.cpu_s() - used) / took, largest / 1e6


def pasting() -> tuple[float, float, float]:
    """Seconds to send 10 MB, from then to the refusal, and CPU seconds of the app for it."""
    with echo((80, 24), 100) as screen:
        used, began = screen.cpu_s(), time.perf_counter()
        screen.write(PASTE)
        sent = time.perf_counter()
        screen.until("characters")
        return sent - began, time.perf_counter() - sent, screen.cpu_s() - used


def only_reading() -> float:
    """Seconds in which a program that does nothing else reads the paste from its terminal."""
    screen = Screen([sys.executable, "-c", READER, str(len(PASTE))], (80, 24), ready="ready")
    try:
        began = time.perf_counter()
        screen.write(PASTE)
        screen.until("done")
        return time.perf_counter() - began
    finally:
        screen.end()


def report_paste(count: int) -> None:
    """The paste beside what the terminal itself takes."""
    found = [(*pasting(), only_reading()) for _ in range(count)]
    sent, after, cpu, floor = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"10 MB pasted: sent in {sent:.2f} s (a program that only reads: {floor:.2f} s), "
          f"refused {after:.2f} s later, {cpu:.2f} s of CPU", flush=True)  # fmt: skip


def main() -> None:
    """All figures of the app's process."""
    conditions()
    count = pair_count(5)
    for size in SIZES:
        for rate in RATES:
            found = [streaming(size, rate) for _ in range(count)]
            share, memory = (statistics.median(values) for values in zip(*found, strict=True))
            print(f"{size[0]}x{size[1]} at {rate} tok/s: {share:.1%} of a core, {memory:.0f} MB",
                  flush=True)  # fmt: skip
    report_paste(count)
    decode_in_app(pair_count(15))


def decode_in_app(count: int) -> None:
    """The starter in the app against `run`, as many tokens in both runs of a pair.

    The app always answers first, as only its answer shows how long it gets; a drift of the machine
    within a pair is thus not evened out by the order.
    """
    with tempfile.TemporaryDirectory() as home:
        made: list[int] = []

        def app() -> float:
            rate, tokens = answer_in_app(Path(home))
            made.append(tokens)
            return rate

        def run() -> float:
            options = ("--ignore-eos", "-n", str(made[-1]))
            return float(ondevice_run(starter(), QUESTION, *options)["timings"]["decode_tok_per_s"])

        found = pairs(app, run, count, alternate=False)
        report("decode in the app / in run", found, 0.9, "tok/s")
        print(f"tokens of an answer: {min(made)} to {max(made)}")


def answer_in_app(home: Path) -> tuple[float, int]:
    """Decode tok/s and tokens of one answer in the real app."""
    os.environ["ONDEVICE_HOME"] = str(home)
    screen = Screen(ONDEVICE, (120, 40))
    try:
        return answered(screen, home)
    finally:
        screen.end()
        (home / "data" / "ondevice.db").unlink()


def answered(screen: Screen, home: Path) -> tuple[float, int]:
    """Ask, and wait for the whole answer: decode tok/s and tokens."""
    screen.write(QUESTION.encode() + b"\r")
    last = time.monotonic() + LONGEST_S
    with contextlib.closing(sqlite3.connect(home / "data" / "ondevice.db")) as database:
        while (row := finished(database)) is None:
            if time.monotonic() > last:
                sys.exit(f"there was no answer in {LONGEST_S:.0f} s")
            screen.take(0.2)
    return row


def finished(database: sqlite3.Connection) -> tuple[float, int] | None:
    """Decode tok/s and tokens of the first whole answer; None while there is none."""
    query = """SELECT decode_tok_per_s, completion_tokens FROM answer JOIN message USING (id)
        WHERE state = 'complete'"""
    row: tuple[float, int] | None = database.execute(query).fetchone()
    return row


if __name__ == "__main__":
    main()
