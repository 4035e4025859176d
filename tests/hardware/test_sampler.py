"""Private memory and model pages are read from a real process, and told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ondevice.hardware import sampler, system
from ondevice.hardware.sampler import PeakMemory, read_process

MB = 1 << 20
MAPPED = 30 * MB
PRIVATE = 40 * MB

HOLDER = """
import mmap, sys
path, mapped, private = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("empty", flush=True)
sys.stdin.readline()
with open(path, "rb") as file:
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
touched = sum(view[at] for at in range(0, mapped, 4096))
ballast = bytearray(private)
for at in range(0, private, 4096):
    ballast[at] = 1
print("full", flush=True)
sys.stdin.readline()
del ballast
print("less", flush=True)
sys.stdin.readline()
"""

linux = pytest.mark.skipif(not system.is_linux(), reason="only Linux tells the two kinds apart")


class Holder:
    """A process that maps a file and allocates memory on request."""

    def __init__(self, path: Path, mapped: int = MAPPED, private: int = PRIVATE) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), str(mapped), str(private)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.said()

    def said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def next(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.said()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


StartHolder = Callable[..., Holder]


@pytest.fixture
def start_holder(tmp_path: Path) -> Iterator[StartHolder]:
    started: list[Holder] = []

    def start(name: str = "model.gguf", **amounts: int) -> Holder:
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(MAPPED)
        started.append(Holder(path, **amounts))
        return started[-1]

    yield start
    for holder in started:
        holder.end()


@linux
def test_the_two_kinds_of_memory_are_told_apart(start_holder: StartHolder) -> None:
    holder = start_holder()
    empty = read_process(holder.pid, (str(holder.path),))
    assert holder.next() == "full"
    full = read_process(holder.pid, (str(holder.path),))
    assert empty is not None
    assert full is not None
    assert empty.model_pages_bytes == 0
    assert full.model_pages_bytes == pytest.approx(MAPPED, rel=0.1)
    assert empty.private_bytes is not None
    assert full.private_bytes is not None
    assert full.private_bytes - empty.private_bytes == pytest.approx(PRIVATE, rel=0.1)
    assert full.resident_bytes >= full.private_bytes + full.model_pages_bytes


@linux
def test_only_the_pages_that_were_touched_count(start_holder: StartHolder) -> None:
    holder = start_holder(mapped=MAPPED // 3)
    assert holder.next() == "full"
    memory = read_process(holder.pid, (str(holder.path),))
    assert memory is not None
    assert memory.model_pages_bytes is not None
    # the kernel maps up to 16 pages around a touched one
    assert MAPPED // 3 <= memory.model_pages_bytes <= MAPPED // 3 + MB


@linux
@pytest.mark.parametrize(
    "name",
    [
        "with space.gguf",
        "two  spaces ",
        "new\nline.gguf",
        "re\rturn.gguf",
        "ünï 文.gguf",
        "sep\x85\u2028.gguf",
    ],
    ids=["space", "trailing", "newline", "return", "unicode", "separators"],
)
def test_a_file_is_known_by_any_name(name: str, start_holder: StartHolder) -> None:
    holder = start_holder(name, private=0)
    assert holder.next() == "full"
    memory = read_process(holder.pid, (str(holder.path),))
    assert memory is not None
    assert memory.model_pages_bytes == pytest.approx(MAPPED, rel=0.1)


@linux
def test_a_name_that_is_no_text_harms_nothing(start_holder: StartHolder, tmp_path: Path) -> None:
    holder = start_holder(os.fsdecode(b"latin-\xe9.gguf"), private=0)
    assert holder.next() == "full"
    memory = read_process(holder.pid, (str(holder.path),))
    assert memory is not None
    assert memory.model_pages_bytes == pytest.approx(MAPPED, rel=0.1)
    another = read_process(holder.pid, (str(tmp_path / "another.gguf"),))
    assert another is not None
    assert another.model_pages_bytes == 0


@linux
def test_a_file_that_was_deleted_meanwhile_is_still_counted(start_holder: StartHolder) -> None:
    holder = start_holder(private=0)
    assert holder.next() == "full"
    holder.path.unlink()
    memory = read_process(holder.pid, (str(holder.path),))
    assert memory is not None
    assert memory.model_pages_bytes == pytest.approx(MAPPED, rel=0.1)


@linux
def test_model_pages_can_be_left_out(start_holder: StartHolder) -> None:
    holder = start_holder()
    memory = read_process(holder.pid, (str(holder.path),), pages=False)
    assert memory is not None
    assert memory.model_pages_bytes is None
    assert memory.private_bytes


def test_a_process_that_is_gone_has_none(start_holder: StartHolder) -> None:
    holder = start_holder()
    holder.end()
    assert read_process(holder.pid, (str(holder.path),)) is None


@linux
def test_a_process_nobody_waited_for_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_process(child.pid, ("x",)) is None
    child.communicate()


class TestElsewhere:
    @pytest.fixture(autouse=True)
    def another_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "is_linux", lambda: False)

    def test_only_the_resident_total_is_known(self, start_holder: StartHolder) -> None:
        holder = start_holder()
        assert holder.next() == "full"
        memory = read_process(holder.pid, (str(holder.path),))
        assert memory is not None
        assert memory.resident_bytes == psutil.Process(holder.pid).memory_info().rss
        assert (memory.private_bytes, memory.model_pages_bytes) == (None, None)

    def test_a_process_that_is_gone_has_none(self, start_holder: StartHolder) -> None:
        holder = start_holder()
        holder.end()
        assert read_process(holder.pid, ("x",)) is None

    def test_a_peak_is_unknown_there(self, start_holder: StartHolder) -> None:
        holder = start_holder()
        with PeakMemory(holder.pid, (str(holder.path),)) as memory:
            use = memory.use()
        assert use.peak_private_bytes is None
        assert use.resident_bytes


@linux
def test_the_peak_outlives_the_memory(
    start_holder: StartHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "PERIOD_S", 0.01)
    holder = start_holder()
    with PeakMemory(holder.pid, (str(holder.path),)) as memory:
        holder.next()
        high = memory.use().peak_private_bytes
        assert holder.next() == "less"
        assert memory.use().peak_private_bytes == high
    now = read_process(holder.pid, (str(holder.path),))
    assert now is not None
    assert now.private_bytes is not None
    assert high is not None
    assert high - now.private_bytes == pytest.approx(PRIVATE, rel=0.1)


@linux
def test_the_peak_of_a_process_that_ended_is_kept(start_holder: StartHolder) -> None:
    holder = start_holder()
    holder.next()
    with PeakMemory(holder.pid, (str(holder.path),)) as memory:
        before = memory.use()
        holder.end()
        after = memory.use()
    assert before.peak_private_bytes is not None
    assert before.peak_private_bytes > PRIVATE
    assert after.peak_private_bytes == before.peak_private_bytes
    assert (after.model_pages_bytes, after.resident_bytes) == (None, None)
