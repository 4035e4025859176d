"""Get files: wait for who fetches one already, check the disk, fetch, publish."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import filelock

from ondevice import units
from ondevice.domain.download import (
    Downloaded,
    DownloadEvent,
    DownloadNotice,
    DownloadProgress,
    RemoteFile,
)
from ondevice.errors import DiskTooSmall
from ondevice.hub import names
from ondevice.hub.cache import HubCache
from ondevice.hub.remote import Hub
from ondevice.hub.transfer import Patience, disk_trouble, fetch

KEPT_FREE_BYTES = 64 << 20
"""So much of the disk stays free for everything else."""
LOOK_S = 0.5
"""How often a waiting process looks whether the other one has ended."""


def pull(
    hub: Hub, files: Sequence[RemoteFile], cache: HubCache, patience: Patience | None = None
) -> Generator[DownloadEvent, None, None]:
    """Fetch `files`, which belong together, into `cache`; the last event is Downloaded.

    They get their names when the last one is here: all of them or none. Closing the iterator
    cancels and keeps what has come. Raises DownloadTrouble.
    """
    total = sum(file.size_bytes for file in files)
    _check_all_fit(files, cache)
    before = fetched = 0
    for file in files:
        for event in _fetch(hub, file, cache, patience or Patience()):
            if isinstance(event, DownloadProgress):
                done = before + event.done_bytes
                yield DownloadProgress(done, total, event.rate_bytes_per_s)
            elif isinstance(event, DownloadNotice):
                yield event
            else:
                fetched += event
        before += file.size_bytes
    try:
        paths = [cache.point(file) for file in files]
    except OSError as error:
        raise disk_trouble(error, str(cache.root)) from error
    yield Downloaded(paths[0], fetched)


def bytes_here(files: Sequence[RemoteFile], cache: HubCache) -> int:
    """How much of `files` is here: whole blobs, and partials that a pull goes on with."""
    return sum(
        file.size_bytes if cache.has(file) else min(_size(cache.part(file)), file.size_bytes)
        for file in files
    )


def free_bytes(folder: Path) -> int | None:
    """What the disk of `folder`, which need not exist yet, has free; None where it is not told."""
    for each in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(each).free
    return None


def remember_main(file: RemoteFile, cache: HubCache) -> None:
    """Let `main` mean the commit of `file`, for other tools and for `local`. Best effort."""
    ref = cache.blob(file).parent.parent / "refs" / "main"
    fresh = ref.with_name(f"main.{os.getpid()}.new")
    with contextlib.suppress(OSError):
        ref.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_text(names.commit(file.commit), encoding="ascii")
        fresh.replace(ref)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fetch(
    hub: Hub, file: RemoteFile, cache: HubCache, patience: Patience
) -> Iterator[DownloadProgress | DownloadNotice | int]:
    """One blob; the last item is the bytes that this run fetched."""
    try:
        cache.make_folders(file)
    except OSError as error:
        raise disk_trouble(error, str(cache.root)) from error
    lock = filelock.FileLock(cache.lock(file), mode=0o600, thread_local=False)
    try:
        yield from _wait_for(lock, file)
        if cache.has(file):
            yield 0
            return
        had = _check_room(file, cache.part(file))
        yield from fetch(hub, file, cache.part(file), patience)
        cache.publish(file)
        yield file.size_bytes - had
    except OSError as error:
        raise disk_trouble(error, file.path) from error
    finally:
        lock.release(force=True)


def _wait_for(lock: filelock.BaseFileLock, file: RemoteFile) -> Iterator[DownloadNotice]:
    said = False
    while True:
        try:
            lock.acquire(timeout=LOOK_S)
        except filelock.Timeout:
            if not said:
                yield DownloadNotice("waiting", f"another process fetches {file.path}; waiting")
            said = True
        else:
            return


def _check_all_fit(files: Sequence[RemoteFile], cache: HubCache) -> None:
    """Raises DiskTooSmall before the first byte when there is no room for the last one."""
    free = free_bytes(cache.root)
    missing = sum(file.size_bytes for file in files) - bytes_here(files, cache)
    if len(files) > 1 and free is not None and missing and missing + KEPT_FREE_BYTES > free:
        what = f"{files[0].repository} needs {units.size(missing)} more"
        raise _no_room(f"{what}; the disk has {units.size(free)} free", cache.root)


def _no_room(message: str, folder: Path) -> DiskTooSmall:
    return DiskTooSmall(message, f"Make room in {folder}, or set HF_HOME to a larger disk.")


def _check_room(file: RemoteFile, part: Path) -> int:
    """Bytes that are here already; raises DiskTooSmall when there is no room for the rest."""
    had = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    missing = max(0, file.size_bytes - had)
    if missing + KEPT_FREE_BYTES > free:
        what = f"{file.path} needs {units.size(missing)} more"
        raise _no_room(f"{what}; the disk has {units.size(free)} free", part.parent)
    return min(had, file.size_bytes)
