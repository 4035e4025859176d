"""Downloads beside the chat: a queue, one at a time, each in a process of its own.

A process, as hashing in a thread would take the interpreter from the screen; of low priority, so
that an answer goes first; and one that can be ended at any moment, as a partial is never lost.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ondevice import units
from ondevice.domain.download import DownloadProgress
from ondevice.domain.text import clean_line
from ondevice.hardware.system import lower_priority

LONGEST_END_S = 10.0
"""A process that was told to end writes what it has and does."""
State = Literal["queued", "running", "paused", "failed", "done"]


class Form(NamedTuple):
    """One form of a model, as `ondevice pull` is told of it."""

    name: str
    engine: str
    quantization: str
    path: str
    """In its repository: two forms may be alike in all else."""


Command = Callable[[Form], list[str]]
"""What fetches a form and writes its events to stdout, as JSON Lines. Its stdin is a pipe that ends
with us."""
PASSING = ("retry", "waiting")
"""Notices that do not hold any more once bytes come."""


@dataclass(frozen=True, slots=True)
class Download:
    """One row of the queue; replaced whole, so any thread may read it."""

    form: Form
    state: State = "queued"
    progress: DownloadProgress | None = None
    said: str = ""
    """The newest notice, or why it failed."""
    passing: bool = False
    """Whether that is over with the next bytes."""

    @property
    def words(self) -> str:
        """For one cell of a table."""
        done = self._so_far
        if self.state != "running":
            return f"{self.state} {done}".strip()
        if self.progress is None or self.progress.rate_bytes_per_s is None:
            return f"{done} …".strip()
        rate = f"{units.size(round(self.progress.rate_bytes_per_s))}/s"
        return f"{done} {rate} {units.duration(self.progress.eta_s)}"

    @property
    def _so_far(self) -> str:
        """A share, or what is left where some of it comes again: no share would be true then."""
        if self.progress is None:
            return ""
        if self.progress.again_bytes:
            again = "again: " if self.state == "running" else ""
            return f"{again}{units.size(self.progress.left_bytes)} left"
        return f"{self.progress.fraction:.0%}"


class Downloads:
    """The queue. Everything but the constructor may be called from any thread."""

    def __init__(self, command: Command, ended: Callable[[Download], object]) -> None:
        """`ended` is called from a thread of the queue's with what is done or has failed."""
        self._command, self._ended = command, ended
        self._rows: dict[Form, Download] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._working = self._closed = False

    def get(self, form: Form) -> Download | None:
        return self._rows.get(form)

    @property
    def running(self) -> Download | None:
        """The one that is being fetched."""
        rows = list(self._rows.values())
        return next((each for each in rows if each.state == "running"), None)

    @property
    def waiting(self) -> int:
        """How many come after it."""
        return sum(each.state == "queued" for each in list(self._rows.values()))

    @property
    def words(self) -> str:
        """How it goes, for the first line of a screen; empty while there is none."""
        running, waiting = self.running, self.waiting
        more = f" +{waiting}" if waiting else ""
        return f" ↓ {running.form.name} {running.words}{more} " if running else ""

    def add(self, form: Form) -> None:
        """Fetch `form` when its turn comes; what came of it before is taken up."""
        with self._lock:
            had = self._rows.get(form)
            if self._closed or (had and had.state in ("queued", "running")):
                return
            self._rows.pop(form, None)  # at the end of the queue
            self._rows[form] = Download(form, progress=had.progress if had else None)
            if self._working:
                return
            self._working = True
        threading.Thread(target=self._work, name="downloads", daemon=True).start()

    def pause(self, form: Form) -> None:
        """Stop fetching `form`; its partial stays."""
        with self._lock:
            had = self._rows.get(form)
            if had is None or had.state not in ("queued", "running"):
                return
            self._rows[form] = Download(form, "paused", had.progress)
            if had.state == "running":
                self._end_process()

    def forget(self, form: Form) -> None:
        """Take `form` off the list and wait until nothing fetches it; its partial stays."""
        running = self._process if self.running and self.running.form == form else None
        self.pause(form)
        with self._lock:
            self._rows.pop(form, None)
        if running is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(LONGEST_END_S)

    def close(self) -> None:
        """Stop everything; partials stay."""
        with self._lock:
            self._closed = True
            self._end_process()

    # The thread that works

    def _work(self) -> None:
        while (form := self._take()) is not None:
            self._fetch(form)

    def _take(self) -> Form | None:
        """The next one, which is then running; None when there is none, and the thread ends."""
        with self._lock:
            rows = self._rows.values()
            found = next((each for each in rows if each.state == "queued"), None)
            if found is None or self._closed:
                self._working = False
                return None
            self._rows[found.form] = Download(found.form, "running", found.progress)
            return found.form

    def _fetch(self, form: Form) -> None:
        reason = "it ended without a reason"
        try:
            self._follow(form)
        except (OSError, ValueError) as error:  # no process to be had, or it does not speak JSON
            reason = str(error)
        with self._lock:
            self._end_process()
            self._process = None
            left = self._rows.get(form)
            if left is not None and left.state == "running":
                left = Download(form, "failed", left.progress, clean_line(reason))
                self._rows[form] = left
        if left is not None and left.state in ("done", "failed") and not self._closed:
            self._ended(left)

    def _follow(self, form: Form) -> None:
        """Run the command and keep what it says, until it ends."""
        with self._lock:
            row = self._rows.get(form)
            if self._closed or row is None or row.state != "running":
                return
            self._process = process = subprocess.Popen(
                self._command(form),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        lower_priority(process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout as lines:
            for line in lines:
                self._note(form, json.loads(line))
        process.wait()

    def _note(self, form: Form, event: dict[str, object]) -> None:
        """Keep what an event says, unless the row was paused or forgotten meanwhile."""
        with self._lock:
            had = self._rows.get(form)
            if had is None or had.state != "running":
                return
            self._rows[form] = _after(had, event)

    def _end_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _after(had: Download, event: dict[str, object]) -> Download:
    match event:
        case {"event": "progress", "done_bytes": int(done), "total_bytes": int(total), **rest}:
            rate = rest.get("rate_bytes_per_s")
            known = float(rate) if isinstance(rate, int | float) else None
            again = rest.get("again_bytes")
            progress = DownloadProgress(done, total, known, again if isinstance(again, int) else 0)
            return Download(had.form, had.state, progress, "" if had.passing else had.said)
        case {"event": "notice", "code": code, "message": str(message)}:
            return Download(had.form, had.state, had.progress, message, code in PASSING)
        case {"event": "done"}:
            return Download(had.form, "done", had.progress)
        case {"event": "error", "message": str(message), "hint": str(hint)}:
            return Download(had.form, "failed", had.progress, f"{message}. {hint}".strip())
    return had
