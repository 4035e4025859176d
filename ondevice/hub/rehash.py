"""Hash again what was fetched: is it on the disk as it came?

sound              its hash is the one that is known of it
damaged            another hash: bits have changed
shorter, longer    it has not the size that is known of it
missing            nothing is where it should be
unreadable         the disk, or a permission, does not give it
unknown            nobody knows what its hash should be

What is known is the catalogue's sha256, or what the cache calls the content: its hash.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from ondevice.domain.download import DownloadProgress, RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.hardware.files import drop_pages, open_regular
from ondevice.hub import forms, local, names
from ondevice.hub.cache import HubCache, Pointer
from ondevice.hub.hashing import Hash, content_hash
from ondevice.hub.holding import holding
from ondevice.hub.records import Records

State = Literal["sound", "damaged", "shorter", "longer", "missing", "unreadable", "unknown"]
MENDABLE: tuple[State, ...] = ("damaged", "shorter", "longer")
DAMAGED = ".damaged"
READ_BYTES = 1 << 20
REPORT_S = 0.2
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file on the disk, and what it should be."""

    label: str
    """`owner/name/path`, for people."""
    path: Path | None
    """Where tools look for it; None where there is no such name."""
    size_bytes: int | None
    content_hash: str | None
    """sha256 (64 digits) or git's hash of a blob (40 digits)."""
    package: str | None = None
    """The Python package that carries it; then it is not ours to mend."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one file."""

    file: KnownFile
    state: State
    found_bytes: int | None = None
    found_hash: str | None = None
    """None where it was not hashed: a wrong size says enough."""
    reason: str = ""
    """Why it cannot be read."""

    @property
    def is_sound(self) -> bool:
        return self.state == "sound"

    @property
    def is_bad(self) -> bool:
        """Whether it is not what it should be; of the unknown nothing is said."""
        return self.state not in ("sound", "unknown")

    @property
    def can_be_mended(self) -> bool:
        """Not what a package carries: that is installed again."""
        return self.state in MENDABLE and self.file.package is None


def verify(
    cache: HubCache, files: Iterable[FileSpec | RemoteFile], own: Records | None = None
) -> Iterator[DownloadProgress | Finding]:
    """Hash `files` again, every revision of them that is here, each content once.

    Yields how far it is over all of them, and one Finding per file. `own` knows the hashes of
    what was pinned locally. The disk is read, not what memory still holds of it, as far as the
    system does that. Changes nothing.
    """
    known = list(_once(each for file in files for each in _known(cache, file, own)))
    total = sum(_size(each) for each in known if each.content_hash)
    run = _Run(total)
    for each in known:
        yield from run.check(each)


def mend(cache: HubCache, finding: Finding) -> Path | None:
    """Set aside what is damaged, so that the next pull fetches it anew; where it lies now.

    None where only its name was wrong: sound content of another file stays. Nothing is deleted
    but names; what is set aside ends with `.damaged`. Raises BeingFetched and NotChanged.
    """
    path = finding.file.path
    assert path is not None
    assert finding.can_be_mended
    folder = cache.root / path.relative_to(cache.root).parts[0]
    pointers = cache.snapshots(folder).pointers
    blob = next((each.blob for each in pointers if each.name == path), None)
    if blob is not None and blob.parent != folder / "blobs":
        blob = None
    with holding(cache, folder, [blob.name] if blob else []):
        if blob is None and not path.is_symlink():
            return _set_aside(cache, path)
        if blob is None or finding.found_hash == blob.name:
            cache.delete(path)
            return None
        aside = _set_aside(cache, blob)  # first, since under its name a pull would trust it
        for each in pointers:
            if each.blob == blob:
                cache.delete(each.name)
        return aside


def _set_aside(cache: HubCache, path: Path) -> Path:
    number = 1
    while True:
        end = DAMAGED if number == 1 else f".{number}{DAMAGED}"
        try:
            return cache.move(path, path.name + end)
        except FileExistsError:
            number += 1


def _known(
    cache: HubCache, file: FileSpec | RemoteFile, own: Records | None
) -> Iterator[KnownFile]:
    label = f"{file.repository}/{file.path}"
    if isinstance(file, RemoteFile):
        name = cache.snapshot(file)
        path = name if os.path.lexists(name) else None
        yield KnownFile(label, path, file.size_bytes, file.content_hash)
        return
    carried = local.in_package(file)
    if carried is not None:
        yield KnownFile(label, carried, file.size_bytes, file.sha256, file.package)
    found = forms.pointers(file, cache.snapshots(cache.folder(file.repository)))
    pinned = (own.pinned(file) or ()) if own else ()
    for pointer in found:
        yield _of_pointer(file, pointer, pinned)
    have = {pointer.path for pointer in found}
    for member in names.parts(file.path) or [each.path for each in pinned]:
        if found and member not in have:
            yield KnownFile(f"{file.repository}/{member}", None, None, None)
    if carried is None and not found:
        yield KnownFile(label, None, file.size_bytes, file.sha256)


def _of_pointer(file: FileSpec, pointer: Pointer, pinned: tuple[RemoteFile, ...]) -> KnownFile:
    """The pin says what its own revision is; of another one only the cache knows."""
    label = f"{file.repository}/{pointer.path}"
    name = pointer.blob.name if pointer.blob else ""
    known = HASH.fullmatch(name) is not None
    # Without a revision the entry may mean another one than this: then the blob's name knows.
    at_pin = file.revision == pointer.commit or (file.revision is None and not known)
    if at_pin and file.sha256 and pointer.path == file.path:
        whole = pointer.path.endswith(".gguf") and "-of-" not in pointer.path
        size = file.size_bytes if whole else None
        return KnownFile(label, pointer.name, size, file.sha256)
    for each in pinned:
        if (each.commit, each.path) == (pointer.commit, pointer.path):
            return KnownFile(label, pointer.name, each.size_bytes, each.content_hash)
    return KnownFile(label, pointer.name, None, name if known else None)


def _once(files: Iterable[KnownFile]) -> Iterator[KnownFile]:
    """The same content is not hashed twice because two revisions have it."""
    seen = set()
    for file in files:
        key = (os.path.realpath(file.path) if file.path else file.label, file.content_hash)
        if key not in seen:
            seen.add(key)
            yield file


def _size(file: KnownFile) -> int:
    try:
        return file.path.stat().st_size if file.path else 0
    except OSError:
        return 0


class _Run:
    """How far one verification is."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._done = 0
        self._began = self._told = time.monotonic()

    def check(self, file: KnownFile) -> Iterator[DownloadProgress | Finding]:
        """Progress, and what was found."""
        if file.path is None:
            yield Finding(file, "missing")
            return
        before = self._done
        size = _size(file)
        try:
            with open_regular(file.path) as opened:
                drop_pages(opened)  # what is on the disk counts, not what memory holds of it
                size = os.fstat(opened.fileno()).st_size
                finding = yield from self._look(file, opened, size)
        except FileNotFoundError:
            finding = Finding(file, "missing")
        except OSError as error:
            finding = Finding(file, "unreadable", size, reason=error.strerror or str(error))
        if file.content_hash:
            self._done = before + size  # also where it was not read to its end
            yield self._progress()
        yield finding

    def _look(
        self, file: KnownFile, opened: FileIO, size: int
    ) -> Generator[DownloadProgress, None, Finding]:
        if file.size_bytes is not None and size != file.size_bytes:
            return Finding(file, "shorter" if size < file.size_bytes else "longer", size)
        if file.content_hash is None:
            return Finding(file, "unknown", size)
        digest = content_hash(RemoteFile("", "", "", size, file.content_hash))
        yield from self._hash(opened, digest)
        found = digest.hexdigest()
        return Finding(file, "sound" if found == file.content_hash else "damaged", size, found)

    def _hash(self, opened: FileIO, digest: Hash) -> Iterator[DownloadProgress]:
        buffer = bytearray(READ_BYTES)
        view = memoryview(buffer)
        while count := opened.readinto(buffer):
            digest.update(view[:count])
            self._done += count
            if time.monotonic() - self._told >= REPORT_S:
                yield self._progress()

    def _progress(self) -> DownloadProgress:
        """The rate is that of the whole run."""
        self._told = time.monotonic()
        seconds = self._told - self._began
        done = min(self._done, self._total)
        return DownloadProgress(done, self._total, done / seconds if seconds > 0 else None)
