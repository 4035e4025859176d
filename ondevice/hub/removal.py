"""Delete one form of a model from the cache, and nothing else.

On Linux and macOS a model that is loaded keeps running when its file is deleted; its room is
free when it ends.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ondevice.domain.model import FileSpec
from ondevice.errors import BeingFetched
from ondevice.hub import forms
from ondevice.hub.cache import (
    PART,
    HubCache,
    Pointer,
    entries,
    is_real_folder,
    real_file,
)
from ondevice.hub.holding import held, holding
from ondevice.hub.records import Records


@dataclass(frozen=True, slots=True)
class Removal:
    """What deleting one form of a model means, or meant."""

    pointers: tuple[Pointer, ...] = ()
    """Its names, in all revisions."""
    blobs: tuple[Path, ...] = ()
    """What only it holds: no other name leads there."""
    parts: tuple[Path, ...] = ()
    """What an unfinished download of it left."""
    kept: tuple[Path, ...] = ()
    """What it shares, or what cannot be told to be nobody else's."""
    freed_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is in the cache."""
        return not (self.pointers or self.blobs or self.parts)

    @property
    def hashes(self) -> set[str]:
        """Whose locks keep others from fetching it meanwhile."""
        return {each.name.removesuffix(PART) for each in (*self.blobs, *self.parts, *self.kept)}


def removal(cache: HubCache, file: FileSpec, own: Records | None = None) -> Removal:
    """What `remove` would delete; changes nothing."""
    folder = cache.folder(file.repository)
    if not is_real_folder(folder):
        return Removal()
    blobs, snapshots = folder / "blobs", cache.snapshots(folder)
    mine = forms.pointers(file, snapshots)
    hashes = _hashes(file, own)
    hashes |= {each.blob.name for each in mine if each.blob and each.blob.parent == blobs}
    led_to = {each.blob for each in snapshots.pointers if each not in mine} | _from_others(
        cache, folder
    )
    here = {each.name for each in entries(blobs) if real_file(each)}
    found = [blobs / each for each in sorted(hashes & here)]
    gone = [each for each in found if each not in led_to and snapshots.complete]
    parts = [blobs / f"{each}{PART}" for each in sorted(hashes) if f"{each}{PART}" in here]
    # The names of one file on systems without links are the file itself.
    own_files = [each.name for each in mine if each.blob is None]
    freed = sum(_freed(each, len(mine)) for each in (*gone, *parts, *own_files))
    kept = tuple(each for each in found if each not in gone)
    return Removal(tuple(mine), tuple(gone), tuple(parts), kept, freed)


def remove(cache: HubCache, file: FileSpec, own: Records | None = None) -> Removal:
    """Delete one form of a model and nothing else; what was deleted.

    Its names go first, so a crash leaves content without a name, which `leftovers` finds.
    Raises BeingFetched, before anything is deleted, and NotChanged.
    """
    if (asked := removal(cache, file, own)).is_empty:
        return asked
    folder = cache.folder(file.repository)
    with holding(cache, folder, asked.hashes):
        due = removal(cache, file, own)  # as it is now that nobody changes it
        if not due.hashes <= asked.hashes:
            raise BeingFetched(f"{file.path} is being fetched right now", hint="Try again.")
        names_ = [each.name for each in due.pointers]
        freed = sum(cache.delete(each) for each in (*names_, *due.blobs, *due.parts))
    tidy(cache, folder)
    return Removal(due.pointers, due.blobs, due.parts, due.kept, freed)


def tidy(cache: HubCache, folder: Path) -> None:
    """Delete empty folders of a repository, and refs to revisions that are gone.

    Not while somebody fetches from it, who needs them.
    """
    if held(cache, folder):
        return
    snapshots = folder / "snapshots"
    for each in entries(snapshots):
        if _drop_empty(cache, each):
            _drop_refs(cache, folder / "refs", each.name)
    # Other tools take a repository without this folder for a damaged one: all go, or none.
    inside = [folder / "blobs", snapshots, folder / "refs"]
    if set(entries(folder)) <= set(inside) and not any(map(entries, inside)):
        for each in (*inside, folder):
            cache.drop_folder(each)
    cache.drop_folder(cache.locks(folder))


def _drop_empty(cache: HubCache, folder: Path) -> bool:
    """Whether it is gone: nothing was in it but empty folders."""
    for each in entries(folder):
        _drop_empty(cache, each)
    return cache.drop_folder(folder)


def _drop_refs(cache: HubCache, refs: Path, commit: str) -> None:
    """A ref to a revision that is gone is damage to other tools."""
    for each in entries(refs):
        if is_real_folder(each):  # such as refs/pr
            _drop_refs(cache, each, commit)
            cache.drop_folder(each)
        elif (found := real_file(each)) and found.st_size <= 100:
            with contextlib.suppress(OSError):
                if each.read_bytes().strip() == commit.encode():
                    cache.delete(each)


def _hashes(file: FileSpec, own: Records | None) -> set[str]:
    """What its content is known to be, whether it is here or not."""
    kept = (*(own.pinned(file) or ()), *(own.begun(file) or ())) if own else ()
    mine = {each.content_hash for each in kept if forms.belongs(file, each.path)}
    return mine | ({file.sha256} if file.sha256 else set())


def _from_others(cache: HubCache, folder: Path) -> set[Path | None]:
    """Content of this repository that another one's names lead to."""
    others = [each for each in cache.folders() if each != folder]
    found = (each.blob for other in others for each in cache.snapshots(other).pointers)
    return {blob for blob in found if blob and folder in blob.parents}


def _freed(path: Path, names_: int) -> int:
    """Nothing where yet another name than ours holds the file."""
    found = real_file(path)
    return found.st_size if found and found.st_nlink <= 1 + names_ else 0
