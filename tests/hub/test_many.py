"""Several processes that want one model: one fetches it, the others wait and have it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pulls import MOST_AGAIN_BYTES, finish, start, strays
from serving import FileHub

from ondevice.hub.cache import HubCache

SIZE_BYTES = 64 << 20
PROCESSES = 8
MOST_SHARE = 1.1


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FileHub]:
    content = tmp_path / "content"
    content.write_bytes(random.Random(2).randbytes(SIZE_BYTES))
    served = FileHub(content)
    yield served
    served.close()


def right(hub: FileHub, store: HubCache) -> None:
    """The whole model is here, under its name, and nothing beside it."""
    assert store.snapshot(hub.file).read_bytes() == hub.content.read_bytes()
    assert strays(hub, store) == []


def test_eight_processes_fetch_one_model_once(hub: FileHub, cache: Path) -> None:
    store = HubCache(cache)
    found = [finish(each) for each in [start(hub, store) for _ in range(PROCESSES)]]
    right(hub, store)
    assert {each["path"] for each in found} == {str(store.snapshot(hub.file))}
    assert sorted(each["fetched_bytes"] for each in found) == [0] * 7 + [SIZE_BYTES]
    print(f"\n{PROCESSES} processes: {hub.sent / SIZE_BYTES:.3f} times the model on the wire")
    assert hub.sent <= MOST_SHARE * SIZE_BYTES


def fetcher(processes: list[subprocess.Popen[str]], part: Path) -> subprocess.Popen[str]:
    """The process that has the partial open."""
    (found,) = (
        each
        for each in processes
        if each.poll() is None
        and any(Path(file.path) == part for file in psutil.Process(each.pid).open_files())
    )
    return found


def test_another_takes_over_when_the_one_that_fetches_is_killed(hub: FileHub, cache: Path) -> None:
    store = HubCache(cache)
    killed: list[subprocess.Popen[str]] = []
    processes: list[subprocess.Popen[str]] = []

    def watch(sent: int) -> None:
        if sent >= SIZE_BYTES // 2 and not killed and len(processes) == PROCESSES:
            killed.append(fetcher(processes, store.part(hub.file).resolve()))
            killed[0].kill()

    hub.watch = watch
    processes += [start(hub, store) for _ in range(PROCESSES)]
    for each in processes:
        each.wait()
    (victim,) = killed
    found = [finish(each) for each in processes if each is not victim]
    victim.communicate()
    right(hub, store)
    assert sum(each["fetched_bytes"] > 0 for each in found) == 1
    print(f"\nOne of {PROCESSES} killed: {hub.sent / SIZE_BYTES:.3f} times the model on the wire")
    assert hub.sent <= SIZE_BYTES + MOST_AGAIN_BYTES
