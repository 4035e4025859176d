"""Locks of the cache: nobody fetches a file while it is deleted, and nobody deletes what comes.

They are those that every tool of the cache takes while it fetches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ondevice.domain.text import clean_line
from ondevice.errors import BeingFetched, NotChanged
from ondevice.hardware.system import make_private_folder
from ondevice.hub.cache import LOCK, HubCache, entries, is_real_folder, real_file


@contextlib.contextmanager
def holding(cache: HubCache, folder: Path, hashes: Iterable[str]) -> Iterator[None]:
    """Nobody fetches what has one of `hashes` meanwhile; afterwards their locks are gone.

    `folder` is that of their repository. Raises BeingFetched at once where somebody fetches, and
    NotChanged for an OSError of what is done meanwhile.
    """
    import filelock  # deferred: 80 ms

    locks = cache.locks(folder)
    try:
        with contextlib.ExitStack() as held:
            for each in sorted(set(hashes)):
                make_private_folder(locks)
                path = locks / f"{each}{LOCK}"
                lock = filelock.FileLock(path, mode=0o600, thread_local=False)
                lock.acquire(timeout=0)
                held.callback(lock.release, force=True)
                held.callback(drop, cache, path)
            yield
    except filelock.Timeout as error:
        repository = folder.name.removeprefix("models--").replace("--", "/")
        raise BeingFetched(
            f"a file of {clean_line(repository, 120)} is being fetched right now",
            hint="Wait for it, or stop that download first.",
        ) from error
    except OSError as error:
        where = clean_line(str(error.filename or folder))
        raise NotChanged(
            f"{where} cannot be changed: {error.strerror or error}", hint="Check the folder."
        ) from error


def held(cache: HubCache, folder: Path) -> set[str]:
    """Hashes of a repository whose locks somebody holds, or may hold."""
    import filelock  # deferred: 80 ms

    found = set()
    for path in lock_files(cache, folder):
        try:
            with filelock.FileLock(path, thread_local=False).acquire(timeout=0):
                pass
        except (filelock.Timeout, OSError):
            found.add(path.name.removesuffix(LOCK))
    return found


def lock_files(cache: HubCache, folder: Path) -> list[Path]:
    """Of the repository in `folder`, whoever made them."""
    locks = cache.locks(folder)
    found = entries(locks) if is_real_folder(locks.parent) else []
    return [each for each in found if each.name.endswith(LOCK) and real_file(each)]


def drop(cache: HubCache, path: Path) -> None:
    """Delete a lock that is held, before its release: who waits for it sees that and looks anew."""
    with contextlib.suppress(OSError):
        cache.delete(path)
