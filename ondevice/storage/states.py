"""The folder of saved states: one file per session and model, with a cap on all of them.

A state lets the next start go on with a conversation without reading it again. It holds the
conversation, as text and as the model's numbers, so the folder is private (0700) and a session's
files go when the session goes. What a file holds, and who may read it, is the engines' to say
(engines/statefile.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ondevice.errors import DatabaseUnusable
from ondevice.hardware.locks import claim, discard
from ondevice.hardware.system import make_private_folder

MOST_BYTES = 2 << 30
SPARE_BYTES = 512 << 20
"""Disk space that is left for others."""
FOLDER = "states"
"""Beside the database of the sessions."""
ENDING = ".state"
_PART = ".part"


class States:
    """The saved states of one user. `most_bytes` caps them all; 0 keeps none."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes

    def path(self, session_id: int, model_sha256: str) -> Path:
        """Where the state of a session with a model is, or would be."""
        return self.folder / f"{session_id}-{model_sha256[:16]}{ENDING}"

    def find(self, session_id: int, model_sha256: str) -> Path | None:
        """The state of a session with a model, where there is one."""
        path = self.path(session_id, model_sha256)
        return path if path.is_file() else None

    def make_room(self, session_id: int, model_sha256: str, size_bytes: int) -> Path | None:
        """Where a state of that size may be written; None where there is no room for it.

        The oldest states make room; its own older one stays until the new one is whole. Raises
        StorageTrouble where the folder cannot be written.
        """
        path = self.path(session_id, model_sha256)
        if size_bytes > self.most_bytes:
            return None
        try:
            make_private_folder(self.folder)
            self._sweep()
            self._remove(self._beyond(self.most_bytes - size_bytes, besides=path))
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise DatabaseUnusable(
                f"{self.folder} cannot be written: {error.strerror or error}",
                hint="Check its permissions, or set ONDEVICE_HOME.",
            ) from error
        return path if size_bytes + SPARE_BYTES <= free else None

    def total_bytes(self) -> int:
        """What all of them take on the disk."""
        return sum(_size(path) for path in self._all())

    def delete(self, *session_ids: int) -> None:
        """Remove every state of these sessions. Raises StorageTrouble where one stays."""
        begin = tuple(f"{session_id}-" for session_id in session_ids)
        self._remove(path for path in self._all() if path.name.startswith(begin))

    def shrink(self) -> None:
        """Remove the oldest until the cap holds. Raises StorageTrouble where one stays."""
        self._remove(self._beyond(self.most_bytes))

    def delete_all(self) -> None:
        """Remove every state. Raises StorageTrouble where one stays."""
        self._remove(self._all())

    def _all(self) -> Iterator[Path]:
        """States and what a kill left of one."""
        with suppress(OSError):
            for entry in list(os.scandir(self.folder)):
                if entry.name.endswith((ENDING, ENDING + _PART)):
                    yield Path(entry.path)

    def _beyond(self, room: int, besides: Path | None = None) -> Iterator[Path]:
        """The oldest, until the others, without `besides`, take at most `room`."""
        others = sorted((path for path in self._all() if path != besides), key=_written)
        sizes = list(map(_size, others))
        taken = sum(sizes)
        for path, size in zip(others, sizes, strict=True):
            if taken <= room:
                return
            taken -= size
            yield path

    def _sweep(self) -> None:
        """Remove halves of files whose writer is gone."""
        for path in self._all():
            if path.name.endswith(_PART):
                with suppress(OSError):  # somebody writes it right now
                    discard(claim(path), path)

    def _remove(self, paths: Iterator[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DatabaseUnusable(
                    f"{path} cannot be deleted: {error.strerror or error}",
                    hint="Check the permissions of its folder, or delete it yourself.",
                ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
