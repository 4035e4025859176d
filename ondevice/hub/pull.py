"""Get files: look them up, wait for who fetches one already, check the disk, fetch, publish."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
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
from ondevice.domain.model import FileSpec
from ondevice.errors import DiskTooSmall, HubMisbehaved
from ondevice.hub.cache import HubCache
from ondevice.hub.remote import Hub
from ondevice.hub.transfer import Patience, disk_trouble, fetch

KEPT_FREE_BYTES = 64 << 20
"""So much of the disk stays free for everything else."""
LOOK_S = 0.5
"""How often a waiting process looks whether the other one has ended."""


def remote_file(hub: Hub, file: FileSpec) -> RemoteFile:
    """What is to be fetched. A pinned file is known beforehand; the hub is asked about others.

    Raises HubMisbehaved when the hub has another file than the one that is known.
    """
    if file.revision and file.sha256 and file.size_bytes is not None:
        return RemoteFile(file.repository, file.path, file.revision, file.size_bytes, file.sha256)
    found = hub.look_up(file.repository, file.path, file.revision or "main")
    if file.sha256 not in (None, found.content_hash):
        raise HubMisbehaved(
            f"the hub's {file.path} has the hash {found.content_hash}, not {file.sha256}",
            hint="It is another file than the one that was checked; nothing was fetched.",
        )
    return found


def pull(
    hub: Hub, files: Sequence[RemoteFile], cache: HubCache, patience: Patience | None = None
) -> Iterator[DownloadEvent]:
    """Fetch `files`, which belong together, into `cache`; the last event is Downloaded.

    They get their names when the last one is here: all of them or none. Closing the iterator
    cancels and keeps what has come. Raises DownloadTrouble.
    """
    total = sum(file.size_bytes for file in files)
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


def _check_room(file: RemoteFile, part: Path) -> int:
    """Bytes that are here already; raises DiskTooSmall when there is no room for the rest."""
    had = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    missing = max(0, file.size_bytes - had)
    if missing + KEPT_FREE_BYTES > free:
        raise DiskTooSmall(
            f"{file.path} needs {units.size(missing)} more; the disk has {units.size(free)} free",
            hint=f"Make room in {part.parent}, or set HF_HOME to a larger disk.",
        )
    return min(had, file.size_bytes)
