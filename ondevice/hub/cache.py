"""The cache that Hugging Face tools share: files by their hash, and names that point to them.

models--OWNER--NAME/blobs/HASH                what a file holds
models--OWNER--NAME/snapshots/COMMIT/PATH     a link to it, or on some systems the file itself
.locks/models--OWNER--NAME/HASH.lock          held while it is fetched, by any of the tools

What other tools or people put there is never trusted: folders that are links are not entered, and
nothing is deleted through one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ondevice.domain.download import RemoteFile
from ondevice.hardware.system import make_private_folder
from ondevice.hub import names

PART = ".part"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A name in a snapshot."""

    name: Path
    commit: str
    path: str
    """As the repository has it."""
    blob: Path | None
    """Where its content lies, or should; None for a file of its own, or a link to elsewhere."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """What the snapshots of one repository point to."""

    pointers: tuple[Pointer, ...]
    complete: bool
    """False where some could not be seen: then no blob can be said to be nobody's."""


class HubCache:
    """Where the files of a hub lie. Nothing is made before something is fetched."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, repository: str) -> Path:
        """Of one repository."""
        return self.root / f"models--{names.repository(repository).replace('/', '--')}"

    def blob(self, file: RemoteFile) -> Path:
        return self.folder(file.repository) / "blobs" / names.content_hash(file.content_hash)

    def part(self, file: RemoteFile) -> Path:
        """What has come of `file` so far."""
        blob = self.blob(file)
        return blob.with_name(blob.name + PART)

    def locks(self, folder: Path) -> Path:
        """Where the locks of the repository in `folder` are."""
        return self.root / ".locks" / folder.name

    def lock(self, file: RemoteFile) -> Path:
        locks = self.locks(self.folder(file.repository))
        return locks / f"{names.content_hash(file.content_hash)}{LOCK}"

    def snapshot(self, file: RemoteFile) -> Path:
        """Where tools look for `file`."""
        commit = names.commit(file.commit)
        return self.folder(file.repository) / "snapshots" / commit / names.file_path(file.path)

    def has(self, file: RemoteFile) -> bool:
        """Whether all its bytes are here."""
        blob = self.blob(file)
        return blob.is_file() and blob.stat().st_size == file.size_bytes

    def make_folders(self, file: RemoteFile) -> None:
        """Raises OSError where that cannot be."""
        for folder in (self.blob(file).parent, self.lock(file).parent, self.snapshot(file).parent):
            make_private_folder(folder)

    def publish(self, file: RemoteFile) -> None:
        """Make the whole partial a blob; an interruption leaves it a blob, or still a partial."""
        blob = self.blob(file)
        self.part(file).replace(blob)
        _sync_folder(blob.parent)

    def point(self, file: RemoteFile) -> Path:
        """Let the snapshot's name lead to the blob."""
        blob, name = self.blob(file), self.snapshot(file)
        # Somebody may have deleted another file there, and with it a folder that was empty.
        make_private_folder(name.parent)
        goal = os.path.relpath(blob, name.parent)
        if name.is_symlink() and os.readlink(name) == goal:  # noqa: PTH115 - as text
            return name
        fresh = name.with_name(f"{name.name}.{os.getpid()}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        try:
            fresh.symlink_to(goal)
        except OSError as reason:  # Windows, to ordinary users
            try:
                os.link(blob, fresh)
            except OSError:
                raise reason from None  # the other says less: that a file cannot have two names
        fresh.replace(name)
        return name

    def folders(self) -> list[Path]:
        """Of all repositories that are here, whoever fetched from them."""
        found = [each for each in _names(self.root) if each and each.name.startswith("models--")]
        return [each for each in found if is_real_folder(each)]

    def snapshots(self, folder: Path) -> Snapshots:
        """What the repository in `folder` points to; links to folders are not followed."""
        found: list[Pointer] = []
        complete = True
        top = folder / "snapshots"
        below = [top] if is_real_folder(folder) and is_there(top) else []
        while below:
            here = below.pop()
            for name in _names(here) if is_real_folder(here) else (None,):
                if name is None:
                    complete = False
                elif os.path.isdir(name):  # noqa: PTH112 - pathlib's raises; also links to folders
                    below.append(name)
                elif len(parts := name.relative_to(top).parts) > 1:
                    blob = self._blob_of(name, folder / "blobs")
                    found.append(Pointer(name, parts[0], "/".join(parts[1:]), blob))
        return Snapshots(tuple(found), complete)

    def delete(self, path: Path) -> int:
        """Unlink one entry, never what it leads to; the bytes freed. Raises OSError.

        Refuses a path that a link on the way would lead out of the cache.
        """
        self._check_inside(path)
        found = path.lstat()
        path.unlink()
        return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0

    def move(self, path: Path, name: str) -> Path:
        """Give one entry another name in its folder, never over another one. Raises OSError."""
        self._check_inside(path)
        goal = path.with_name(name)
        if os.path.lexists(goal):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(goal))
        return path.rename(goal)

    def drop_folder(self, path: Path) -> bool:
        """Delete an empty folder; False where that cannot be."""
        try:
            self._check_inside(path)
            path.rmdir()
        except OSError:
            return False
        return True

    def _check_inside(self, path: Path) -> None:
        try:
            inside = path.parent.relative_to(self.root)
        except ValueError:
            inside = Path("..")
        due = Path(os.path.realpath(self.root)) / inside
        if ".." in inside.parts or os.path.realpath(path.parent) != str(due):
            raise OSError(errno.ELOOP, "it is not inside the cache", str(path))

    def _blob_of(self, name: Path, blobs: Path) -> Path | None:
        if not name.is_symlink():
            found = real_file(name)
            if found is None or found.st_nlink == 1:
                return None
            return next((each for each in entries(blobs) if _is(each, found)), None)
        goal = Path(os.path.normpath(name.parent / os.readlink(name)))  # noqa: PTH115 - as text
        if goal.parent == blobs:
            return goal
        real = Path(os.path.realpath(name))
        real_root = Path(os.path.realpath(self.root))
        if real.parent.name != "blobs" or real_root not in real.parents:
            return None
        return self.root / real.relative_to(real_root)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it is none, is a link, or may not be read."""
    return [each for each in _names(folder) if each is not None] if is_real_folder(folder) else []


def is_real_folder(path: Path) -> bool:
    """Whether a folder is there and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Also where it is a link to nowhere, and where nobody may look."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def real_file(path: Path) -> os.stat_result | None:
    """What is known of a regular file; None where there is none, or a link."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _is(path: Path, found: os.stat_result) -> bool:
    other = real_file(path)
    return other is not None and os.path.samestat(other, found)


def _names(folder: Path) -> Iterator[Path | None]:
    """The entries; None for what could not be read."""
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        yield None


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system opens folders."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
