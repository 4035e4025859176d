"""The cache that Hugging Face tools share: files by their hash, and names that point to them.

models--OWNER--NAME/blobs/HASH                what a file holds
models--OWNER--NAME/snapshots/COMMIT/PATH     a link to it
.locks/models--OWNER--NAME/HASH.lock          held while it is fetched, by any of the tools
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ondevice.domain.download import RemoteFile
from ondevice.hub import names

PART = ".part"


class HubCache:
    """Where the files of a hub lie. Nothing is made before something is fetched."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, file: RemoteFile) -> Path:
        return self._repository(file) / "blobs" / names.content_hash(file.content_hash)

    def part(self, file: RemoteFile) -> Path:
        """What has come of `file` so far."""
        blob = self.blob(file)
        return blob.with_name(blob.name + PART)

    def lock(self, file: RemoteFile) -> Path:
        folder = self._repository(file).name
        return self.root / ".locks" / folder / f"{names.content_hash(file.content_hash)}.lock"

    def snapshot(self, file: RemoteFile) -> Path:
        """Where tools look for `file`."""
        commit = names.commit(file.commit)
        return self._repository(file) / "snapshots" / commit / names.file_path(file.path)

    def has(self, file: RemoteFile) -> bool:
        """Whether all its bytes are here."""
        blob = self.blob(file)
        return blob.is_file() and blob.stat().st_size == file.size_bytes

    def make_folders(self, file: RemoteFile) -> None:
        """Raises OSError where that cannot be."""
        for folder in (self.blob(file).parent, self.lock(file).parent, self.snapshot(file).parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def publish(self, file: RemoteFile) -> None:
        """Make the whole partial a blob; an interruption leaves it a blob, or still a partial."""
        blob = self.blob(file)
        self.part(file).replace(blob)
        _sync_folder(blob.parent)

    def point(self, file: RemoteFile) -> Path:
        """Let the snapshot's name lead to the blob."""
        blob, name = self.blob(file), self.snapshot(file)
        goal = os.path.relpath(blob, name.parent)
        if name.is_symlink() and os.readlink(name) == goal:  # noqa: PTH115 - as text
            return name
        fresh = name.with_name(f"{name.name}.{os.getpid()}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        try:
            fresh.symlink_to(goal)
        except OSError:  # Windows, to ordinary users
            os.link(blob, fresh)
        fresh.replace(name)
        return name

    def _repository(self, file: RemoteFile) -> Path:
        return self.root / f"models--{names.repository(file.repository).replace('/', '--')}"


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system opens folders."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
