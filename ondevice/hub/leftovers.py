"""What nobody needs any more in the cache: of downloads that ended early, and of crashes.

part         an unfinished download of ours; a pull would go on with it
incomplete   one of another tool, untouched for a day
blob         content without a name
damaged      content that `verify --mend` set aside
new          a name that was being made when we were killed
pointer      a name whose content is gone
lock         the lock of a download that has ended
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ondevice.errors import BeingFetched, NotChanged, OnDeviceError
from ondevice.hub import names
from ondevice.hub.cache import (
    PART,
    HubCache,
    Snapshots,
    entries,
    is_there,
    real_file,
)
from ondevice.hub.holding import held, holding, lock_files
from ondevice.hub.rehash import DAMAGED, HASH
from ondevice.hub.removal import tidy

Kind = Literal["part", "incomplete", "blob", "damaged", "new", "pointer", "lock"]
ENOUGH_S = 24 * 3600
"""Another tool's download that was not written to for so long has ended."""
_SUFFIXES = "|".join(re.escape(each) for each in names.SUFFIXES)
_NEW = re.compile(rf".+(?:{_SUFFIXES})\.(\d{{1,10}})\.new|main\.(\d{{1,10}})\.new", re.I | re.A)


@dataclass(frozen=True, slots=True)
class Leftover:
    """One entry of the cache that may be deleted."""

    path: Path
    kind: Kind
    size_bytes: int
    folder: Path
    """Of its repository."""

    @property
    def is_foreign(self) -> bool:
        """Whether another tool left it: deleted only when that was asked for."""
        return self.kind == "incomplete"

    @property
    def hashes(self) -> list[str]:
        """Whose lock nobody may hold while it is deleted."""
        name = _hash(self.path.resolve() if self.kind == "pointer" else self.path)
        return [name] if HASH.fullmatch(name) and self.kind != "new" else []


@dataclass(frozen=True, slots=True)
class Pruned:
    """One leftover, and what became of it."""

    leftover: Leftover
    freed_bytes: int
    problem: OnDeviceError | None = None
    """Why it is still there."""


def leftovers(cache: HubCache, now: float | None = None) -> list[Leftover]:
    """Everything of that kind; what a live process is at work on is not among it.

    `now` is the wall clock, as times of files are. Changes nothing.
    """
    moment = time.time() if now is None else now
    scans = {folder: cache.snapshots(folder) for folder in cache.folders()}
    led_to = {each.blob for found in scans.values() for each in found.pointers}
    return [
        each
        for folder, found in scans.items()
        for each in _of_repository(cache, folder, found, led_to, moment)
    ] + _locks_alone(cache, scans)


def prune(cache: HubCache, found: Iterable[Leftover]) -> Iterator[Pruned]:
    """Delete `found`, each after a look whether it still is a leftover."""
    touched = set()
    for each in found:
        touched.add(each.folder)
        try:
            yield Pruned(each, _delete(cache, each))
        except OnDeviceError as error:
            yield Pruned(each, 0, error)
    for folder in sorted(touched):
        tidy(cache, folder)


def _delete(cache: HubCache, leftover: Leftover) -> int:
    with holding(cache, leftover.folder, leftover.hashes):
        if leftover.kind == "lock":  # holding has an end of it
            return leftover.size_bytes
        if leftover.kind == "pointer" and is_there(leftover.path.resolve()):
            raise NotChanged(f"{leftover.path.name} leads somewhere by now", hint="Try again.")
        if leftover.kind == "blob":
            if held(cache, leftover.folder) - set(leftover.hashes):  # it may belong to that
                raise BeingFetched("a file of its repository is being fetched", hint="Wait for it.")
            now = cache.snapshots(leftover.folder)
            if not now.complete or any(each.blob == leftover.path for each in now.pointers):
                raise NotChanged(f"{leftover.path.name} has a name by now", hint="Try again.")
        return cache.delete(leftover.path)


def _of_repository(
    cache: HubCache, folder: Path, found: Snapshots, led_to: set[Path | None], now: float
) -> Iterator[Leftover]:
    busy = held(cache, folder)
    for path in entries(folder / "blobs"):
        if (about := real_file(path)) is None or _hash(path) in busy:
            continue
        kind = _kind(path.name, now - about.st_mtime)
        # Of files that belong together the last one may be on its way: the others wait for it.
        if kind == "blob" and (busy or path in led_to or not found.complete):
            continue
        if kind:
            yield Leftover(path, kind, about.st_size, folder)
    yield from _names(folder, found)
    yield from _locks(cache, folder, busy)


def _names(folder: Path, found: Snapshots) -> Iterator[Leftover]:
    for pointer in found.pointers:
        if _is_new(pointer.name.name):
            yield Leftover(pointer.name, "new", 0, folder)
        elif pointer.blob and not is_there(pointer.blob):
            yield Leftover(pointer.name, "pointer", 0, folder)
        elif pointer.blob is None and pointer.name.name.endswith(DAMAGED):
            about = real_file(pointer.name)
            yield Leftover(pointer.name, "damaged", about.st_size if about else 0, folder)
    for path in entries(folder / "refs"):
        if _is_new(path.name) and (about := real_file(path)):
            yield Leftover(path, "new", about.st_size, folder)


def _locks(cache: HubCache, folder: Path, busy: set[str]) -> Iterator[Leftover]:
    for path in lock_files(cache, folder):
        if _hash(path) not in busy and HASH.fullmatch(_hash(path)):
            yield Leftover(path, "lock", 0, folder)


def _locks_alone(cache: HubCache, known: Iterable[Path]) -> list[Leftover]:
    """Those of repositories that are not here any more."""
    gone = [cache.root / each.name for each in entries(cache.root / ".locks")]
    gone = [each for each in gone if each.name.startswith("models--") and each not in known]
    return [each for folder in gone for each in _locks(cache, folder, held(cache, folder))]


def _hash(path: Path) -> str:
    """What the name says of the content: HASH, HASH.part, HASH.1a2b3c4d.incomplete, HASH.lock."""
    return path.name.partition(".")[0]


def _kind(name: str, age_s: float) -> Kind | None:
    """Of a file among the blobs; None for one that is not to be touched."""
    start, _, end = name.partition(".")
    if not HASH.fullmatch(start):
        return None
    if not end:
        return "blob"
    if f".{end}" == PART:
        return "part"
    if f".{end}".endswith(DAMAGED):
        return "damaged"
    return "incomplete" if end.endswith("incomplete") and age_s > ENOUGH_S else None


def _is_new(name: str) -> bool:
    """Whether `name` was being made by a process of ours that has ended."""
    found = _NEW.fullmatch(name)
    if found is None:
        return False
    import psutil  # deferred: 20 ms

    return not psutil.pid_exists(int(found[1] or found[2]))
