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
    RemoteFile,
)
from ondevice.errors import DiskTooSmall
from ondevice.hardware.system import make_private_folder
from ondevice.hub import names
from ondevice.hub.cache import HubCache
from ondevice.hub.holding import drop
from ondevice.hub.patience import Patience
from ondevice.hub.remote import Hub
from ondevice.hub.removal import tidy
from ondevice.hub.transfer import disk_trouble, fetch

KEPT_FREE_BYTES = 64 << 20
"""So much of the disk stays free for everything else."""
LOOK_S = 0.5
"""How often a waiting process looks whether the other one has ended."""


def pull(
    hub: Hub, files: Sequence[RemoteFile], cache: HubCache, patience: Patience | None = None
) -> Generator[DownloadEvent, None, None]:
    """Fetch `files`, which belong together, into `cache`; the last event is Downloaded.

    They get their names when the last one is here: all of them or none. Closing the iterator
    cancels and keeps what has come; where no byte came, nothing stays. Raises DownloadTrouble.
    """
    _check_all_fit(files, cache)
    with contextlib.ExitStack() as held:  # until the names are made: what has none may be pruned
        held.callback(_tidy_after, files, cache)
        try:
            yield from _lock(files, cache, held)
        except OSError as error:
            raise disk_trouble(error, str(cache.root), bytes_here(files, cache)) from error
        fetched = yield from _fetch_all(hub, files, cache, patience or Patience())
        try:
            paths = [cache.point(file) for file in files]
        except OSError as error:
            raise disk_trouble(error, str(cache.root), bytes_here(files, cache)) from error
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
        make_private_folder(ref.parent)
        fresh.write_text(names.commit(file.commit), encoding="ascii")
        fresh.replace(ref)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _lock(
    files: Sequence[RemoteFile], cache: HubCache, held: contextlib.ExitStack
) -> Iterator[DownloadNotice]:
    """Take the locks of all `files`, in one order for everybody; then make their folders."""
    by_lock = {cache.lock(file): file for file in files}  # two files may have the same content
    for path in sorted(by_lock):
        cache.make_folders(by_lock[path])
        lock = filelock.FileLock(path, mode=0o600, thread_local=False)
        yield from _wait_for(lock, by_lock[path], cache)
        held.callback(lock.release, force=True)
        held.callback(_forget, by_lock[path], cache)
    for file in files:  # again, as who held a lock may have deleted empty ones
        cache.make_folders(file)


def _fetch_all(
    hub: Hub, files: Sequence[RemoteFile], cache: HubCache, patience: Patience
) -> Generator[DownloadEvent, None, int]:
    """All blobs, with the progress of the whole; returns the bytes that this run fetched."""
    total = sum(file.size_bytes for file in files)
    before = fetched = 0
    for file in files:
        if not cache.has(file):
            try:
                _check_room(file, cache.part(file))
                fetched += yield from fetch(hub, file, cache.part(file), patience, before, total)
                cache.publish(file)
            except OSError as error:
                raise disk_trouble(error, file.path, bytes_here(files, cache)) from error
        before += file.size_bytes
    return fetched


def _forget(file: RemoteFile, cache: HubCache) -> None:
    """Delete an empty partial and its lock, which is still held."""
    with contextlib.suppress(OSError):
        part = cache.part(file)
        if not cache.has(file) and not _size(part):
            drop(cache, cache.lock(file))
            cache.delete(part)


def _tidy_after(files: Sequence[RemoteFile], cache: HubCache) -> None:
    """Delete the folders that were made for nothing."""
    with contextlib.suppress(OSError):
        if not bytes_here(files, cache):
            tidy(cache, cache.folder(files[0].repository))


def _wait_for(
    lock: filelock.BaseFileLock, file: RemoteFile, cache: HubCache
) -> Iterator[DownloadNotice]:
    said = False
    while True:
        try:
            lock.acquire(timeout=LOOK_S)
        except FileNotFoundError:  # who held it left nothing, not even its folder
            cache.make_folders(file)
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


def _check_room(file: RemoteFile, part: Path) -> None:
    """Raises DiskTooSmall when there is no room for what is missing of `file`."""
    had = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    missing = max(0, file.size_bytes - had)
    if missing and missing + KEPT_FREE_BYTES > free:
        what = f"{file.path} needs {units.size(missing)} more"
        raise _no_room(f"{what}; the disk has {units.size(free)} free", part.parent)
