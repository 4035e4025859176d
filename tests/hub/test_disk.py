"""A disk that is full at any point: one line that says so, nothing lost, and a pull that goes on.

The disks are real ones: a small tmpfs in a namespace of its own, reached through /proc, or a limit
on the size of a file.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback import Loopback
from pulls import fail, finish, start, strays
from serving import FileHub

from ondevice.domain.download import RemoteFile
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import KEPT_FREE_BYTES, pull
from ondevice.hub.remote import Hub

SIZE_BYTES = 16 << 20
ROOM_BYTES = KEPT_FREE_BYTES + 2 * SIZE_BYTES
OLD = random.Random(3).randbytes(1 << 20)
IN_FLIGHT_BYTES = 8 << 20
"""So much of what the hub has sent may not have been read."""
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && echo ready && exec cat'


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FileHub]:
    content = tmp_path / "content"
    content.write_bytes(random.Random(4).randbytes(SIZE_BYTES))
    served = FileHub(content, "someone/other-GGUF")
    yield served
    served.close()


@contextmanager
def small_disk(folder: Path, size: int | str) -> Iterator[Path]:
    """A disk of so many bytes, and what else mount is to know; it is gone afterwards."""
    folder.mkdir(parents=True)
    command = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", MOUNT, "sh"]
    with subprocess.Popen(
        [*command, str(size), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.skip("this system lets nobody mount a disk of his own")
        yield Path(f"/proc/{holder.pid}/root{folder}")
        holder.stdin.close()


def fill(disk: Path) -> None:
    """Leave not a byte; `filler` is what to delete."""
    with (disk / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 20))


Put = Callable[[HubCache], Callable[[], None]]


@pytest.fixture
def put_old(loopback: Loopback) -> Put:
    """Puts a model into the cache that is to survive; gives the check that it did."""

    def put(store: HubCache) -> Callable[[], None]:
        file: RemoteFile = loopback.offer(OLD, "old.gguf")
        with Hub(loopback.address) as hub:
            list(pull(hub, [file], store))

        def check() -> None:
            assert store.snapshot(file).read_bytes() == OLD
            store.snapshot(file).unlink()
            store.blob(file).unlink()
            store.lock(file).unlink(missing_ok=True)

        return check

    return put


def ends_well(hub: FileHub, store: HubCache, check: Callable[[], None]) -> None:
    """With room again: the model comes whole, the old one is still there, nothing else is."""
    assert finish(start(hub, store))["path"] == str(store.snapshot(hub.file))
    assert store.snapshot(hub.file).read_bytes() == hub.content.read_bytes()
    check()
    assert [path for path in strays(hub, store) if path.parent.name != "refs"] == []


def points(quick: list[int], soak: list[int]) -> list[object]:
    """Places to fail at; some only with `make soak`."""
    return [*quick, *(pytest.param(each, marks=pytest.mark.soak) for each in soak)]


@pytest.mark.parametrize("eighths", points([0, 4], [1, 2, 3, 5, 6, 7, 8]))
def test_a_disk_that_fills_while_a_model_comes(
    hub: FileHub, tmp_path: Path, put_old: Put, eighths: int
) -> None:
    goal, filled = SIZE_BYTES * eighths // 8, threading.Event()
    with small_disk(tmp_path / "disk", ROOM_BYTES) as disk:
        store = HubCache(disk / "hub")
        check = put_old(store)

        def watch(sent: int) -> None:
            if sent >= goal and not filled.is_set():
                filled.set()
                fill(disk)

        hub.watch = watch
        process = start(hub, store)
        process.wait()
        if process.returncode == 0:  # the last bytes were on the disk before they were counted
            assert eighths == 8
            finish(process)
            check()
            return
        line = fail(process)
        assert line.startswith("DiskTooSmall: small.Q4_0.gguf cannot be written: the disk is full")
        kept = store.part(hub.file).stat().st_size
        assert ("what was fetched is kept" in line) == bool(kept)
        assert kept >= goal - IN_FLIGHT_BYTES
        (disk / "filler").unlink()
        before = hub.sent
        ends_well(hub, store, check)
        assert hub.sent - before == SIZE_BYTES - kept


@pytest.mark.parametrize("limit", points([SIZE_BYTES // 2], [0, 512, 4096, SIZE_BYTES - 512]))
def test_a_limit_on_the_size_of_a_file(hub: FileHub, cache: Path, put_old: Put, limit: int) -> None:
    store = HubCache(cache)
    check = put_old(store)
    line = fail(start(hub, store, before=f"ulimit -f {limit // 512}"))
    assert line.startswith("DiskTooSmall: small.Q4_0.gguf cannot be written: the disk is full")
    part = store.part(hub.file)  # what got no byte leaves none
    assert (part.stat().st_size if part.exists() else 0) == limit
    assert ("what was fetched is kept" in line) == bool(limit)
    before = hub.sent
    ends_well(hub, store, check)
    assert hub.sent - before == SIZE_BYTES - limit


NAMES = 7
"""New ones of a pull: the lock and its folder, four folders of the repository, and the partial;
the link takes the place of the lock, which is gone by then."""


@pytest.mark.parametrize("names", points([0, NAMES - 1], [1, 2, 3, 4, 5, NAMES]))
def test_a_disk_that_takes_no_more_names(
    hub: FileHub, tmp_path: Path, put_old: Put, names: int
) -> None:
    with small_disk(tmp_path / "disk", f"{ROOM_BYTES},nr_inodes=100") as disk:
        store, filler = HubCache(disk / "hub"), disk / "filler"
        check = put_old(store)
        filler.mkdir()
        for number in range(os.statvfs(disk).f_favail - names):
            (filler / str(number)).touch()
        process = start(hub, store)
        if names == NAMES:
            finish(process)
        else:
            line = fail(process)
            assert line.startswith("DiskTooSmall: ")
            assert "the disk is full" in line
            assert ("is kept" in line) == (hub.sent > 0)
        shutil.rmtree(filler)
        ends_well(hub, store, check)
        assert hub.sent == SIZE_BYTES


def test_a_disk_that_has_no_room_for_the_link(hub: FileHub, tmp_path: Path, put_old: Put) -> None:
    snapshots = tmp_path / "hub" / "models--someone--other-GGUF" / "snapshots"
    with small_disk(snapshots, "1m,nr_inodes=3") as disk:  # itself, the commit, and the filler
        store = HubCache(disk.parents[1])
        check = put_old(store)
        (disk / "filler").touch()
        assert fail(start(hub, store)).startswith("DiskTooSmall: ")
        assert store.blob(hub.file).stat().st_size == SIZE_BYTES
        (disk / "filler").unlink()
        ends_well(hub, store, check)
        assert hub.sent == SIZE_BYTES


def test_a_disk_that_is_too_small_is_refused_with_the_numbers(
    hub: FileHub, tmp_path: Path, put_old: Put
) -> None:
    with small_disk(tmp_path / "disk", KEPT_FREE_BYTES + 2 * len(OLD)) as disk:
        store = HubCache(disk / "hub")
        check = put_old(store)
        line = fail(start(hub, store))
        assert re.search(r"needs 16 MB more; the disk has 6\d MB free", line)
        assert hub.sent == 0
        check()


def test_a_disk_without_room_lets_a_partial_that_is_whole_become_the_model(
    hub: FileHub, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 2 * SIZE_BYTES) as disk:  # less than is to stay free
        store = HubCache(disk / "hub")
        store.make_folders(hub.file)
        shutil.copy(hub.content, store.part(hub.file))
        ends_well(hub, store, lambda: None)
        assert hub.sent == 0
