"""The queue of downloads: one at a time, each in a process, paused and taken up again."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ondevice.domain.download import DownloadProgress
from ondevice.tui.downloads import Download, Downloads, Form

FIRST, SECOND = (Form(name, "llama.cpp", "Q4_0", f"{name}.gguf") for name in ("first", "second"))
PATIENCE_S = 30.0

SPEAK = """
import json, sys, time
for line in json.loads(sys.argv[1]):
    print(json.dumps(line) if isinstance(line, dict) else line, flush=True)
if sys.argv[2] == "hold":
    time.sleep(3600)
"""


def progress(done: int, rate: float | None = None) -> dict[str, object]:
    return {"event": "progress", "done_bytes": done, "total_bytes": 100, "rate_bytes_per_s": rate}


def holding() -> psutil.Process:
    """The process that does not end by itself."""
    alive = [each for each in psutil.Process().children() if each.status() != "zombie"]
    (found,) = [each for each in alive if "hold" in each.cmdline()]
    return found


class Desk:
    """A queue whose downloads say what a test wants, and a wait for what must happen."""

    def __init__(self) -> None:
        self.says: dict[Form, list[object]] = {}
        self.holds: set[Form] = set()
        self.ended: list[Download] = []
        self._moved = threading.Condition()
        self.queue = Downloads(self._command, self._end)

    def _command(self, form: Form) -> list[str]:
        said = json.dumps(self.says.get(form, [{"event": "done"}]))
        return [sys.executable, "-c", SPEAK, said, "hold" if form in self.holds else ""]

    def _end(self, download: Download) -> None:
        with self._moved:
            self.ended.append(download)
            self._moved.notify_all()

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until `happened()`; rows are looked at many times a second."""
        waiting = threading.Event()
        for _ in range(int(PATIENCE_S / 0.01)):
            if happened():
                return
            waiting.wait(0.01)
        raise AssertionError("it did not happen in time")

    def until_ended(self, count: int) -> list[Download]:
        with self._moved:
            assert self._moved.wait_for(lambda: len(self.ended) >= count, PATIENCE_S)
        return self.ended

    def state(self, form: Form) -> str:
        found = self.queue.get(form)
        return found.state if found else "unknown"


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.queue.close()


def test_downloads_run_one_after_the_other(desk: Desk) -> None:
    desk.says[FIRST] = [progress(40, 8.0)]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.queue.add(SECOND)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.progress)
    assert (desk.state(FIRST), desk.state(SECOND)) == ("running", "queued")
    assert desk.queue.waiting == 1
    running = desk.queue.running
    assert running is not None
    assert running.progress == DownloadProgress(40, 100, 8.0)
    assert running.words == "40% 8 B/s 7.5 s"
    desk.queue.pause(FIRST)
    assert [each.form for each in desk.until_ended(1)] == [SECOND]
    assert desk.state(SECOND) == "done"


def test_a_download_that_begins_anew_says_what_is_left(desk: Desk) -> None:
    desk.says[FIRST] = [progress(100, 8.0) | {"again_bytes": 40}]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.progress)
    assert (row := desk.queue.get(FIRST))
    assert row.words == "again: 40 B left 8 B/s 5.0 s"
    desk.queue.pause(FIRST)
    assert (row := desk.queue.get(FIRST))
    assert row.words == "paused 40 B left"


def test_a_paused_download_goes_on_where_it_was(desk: Desk) -> None:
    desk.says[FIRST] = [progress(40)]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.progress)
    desk.queue.pause(FIRST)
    row = desk.queue.get(FIRST)
    assert row is not None
    assert row.words == "paused 40%"
    desk.holds.clear()
    desk.says[FIRST] = [progress(70), {"event": "done"}]
    desk.queue.add(FIRST)
    (done,) = desk.until_ended(1)
    assert (done.state, done.progress) == ("done", DownloadProgress(70, 100, None))


def test_why_a_download_failed_is_kept(desk: Desk) -> None:
    desk.says[FIRST] = [
        {"event": "notice", "code": "retry", "message": "trying again"},
        {"event": "error", "message": "the disk is full", "hint": "Make room."},
    ]
    desk.queue.add(FIRST)
    (failed,) = desk.until_ended(1)
    assert (failed.state, failed.said) == ("failed", "the disk is full. Make room.")


@pytest.mark.parametrize(
    ("code", "said"),
    [("retry", ""), ("waiting", ""), ("token", "a notice"), ("resumed", "a notice")],
)
def test_a_notice_stands_as_long_as_it_holds(desk: Desk, code: str, said: str) -> None:
    desk.says[FIRST] = [{"event": "notice", "code": code, "message": "a notice"}]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.said == "a notice")
    desk.queue.pause(FIRST)
    desk.says[SECOND] = [*desk.says[FIRST], progress(40), progress(41)]
    desk.holds.add(SECOND)
    desk.queue.add(SECOND)
    desk.until(lambda: (row := desk.queue.get(SECOND)) and row.progress)
    row = desk.queue.get(SECOND)
    assert row is not None
    assert row.said == said


@pytest.mark.parametrize(
    "said", [[], ["no JSON"]], ids=["it says nothing", "it says what nobody understands"]
)
def test_a_process_that_only_ends_is_a_failure(desk: Desk, said: list[object]) -> None:
    desk.says[FIRST] = said
    desk.queue.add(FIRST)
    (failed,) = desk.until_ended(1)
    assert failed.state == "failed"
    assert failed.said


def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    ended: list[Download] = []
    over = threading.Event()
    queue = Downloads(
        lambda form: [str(tmp_path / "absent")], lambda row: (ended.append(row), over.set())
    )
    queue.add(FIRST)
    assert over.wait(PATIENCE_S)
    assert ended[0].state == "failed"


def test_closing_ends_the_process(desk: Desk) -> None:
    desk.says[FIRST] = [progress(1)]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.progress)
    process = holding()
    desk.queue.close()
    process.wait(PATIENCE_S)
    desk.queue.add(SECOND)
    assert desk.state(SECOND) == "unknown"


def test_a_download_lets_everything_else_go_first(desk: Desk) -> None:
    desk.says[FIRST] = [progress(1)]
    desk.holds.add(FIRST)
    desk.queue.add(FIRST)
    desk.until(lambda: (row := desk.queue.get(FIRST)) and row.progress)
    process = holding()
    desk.until(lambda: process.nice() > psutil.Process().nice())
