"""What this machine remembers of downloads: `downloads.json` in the data folder, private.

accepted  addresses of terms a person accepted, and when
pinned    files whose hash nobody knew beforehand, as they were at the first fetch; from then on
          only those very bytes are fetched: "pinned locally"
begun     what such files are to become, while their first fetch has not ended

A damaged file is set aside and begun anew; what is lost is asked again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.domain.text import clean_line
from ondevice.errors import HubMisbehaved, UsageTrouble
from ondevice.hardware.system import make_private_folder
from ondevice.hub import names
from ondevice.paths import Paths, user_paths

MOST_BYTES = 16 << 20
WAIT_S = 10.0
Pin = Literal["pinned", "pinned locally", "unpinned"]
FETCHED_AGAIN: dict[Pin, str] = {
    "pinned": "It can be fetched again, as the very same bytes.",
    "pinned locally": "It can be fetched again, as the very same bytes if the hub still has them.",
    "unpinned": "Its hash is not pinned: what is fetched again may be other bytes.",
}
"""What deleting a file means for a later pull."""


class _PinnedFile(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int
    hash: str


class _Pinned(msgspec.Struct, frozen=True):
    revision: str
    files: list[_PinnedFile]
    licence: str | None = None
    """As the hub or the catalogue named it."""


class _Content(msgspec.Struct):
    accepted: dict[str, str] = {}
    """Address of the terms -> moment."""
    pinned: dict[str, _Pinned] = {}
    """`owner/name/path` as FileSpec has them -> what was fetched."""
    begun: dict[str, _Pinned] = {}
    """The same -> what is being fetched."""


class Records:
    """One file of records. Reading never fails; writing raises UsageTrouble with the reason."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def accepted(self, terms: str) -> str | None:
        """When the terms at this address were accepted; None when they were not."""
        return self._read().accepted.get(terms)

    def accept(self, terms: str) -> None:
        with self._changing() as content:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            content.accepted.setdefault(terms, now)

    def pinned(self, file: FileSpec) -> tuple[RemoteFile, ...] | None:
        """The files that `file` was at its first fetch; None when it was not fetched so."""
        return _files(file, self._read().pinned)

    def begun(self, file: FileSpec) -> tuple[RemoteFile, ...] | None:
        """The files that an unfinished first fetch of `file` is of; None where there is none."""
        return _files(file, self._read().begun)

    def licence(self, file: FileSpec) -> str | None:
        """What its licence was called at its first fetch; None where that is not known."""
        found = self._read().pinned.get(_key(file))
        return found.licence if found else None

    def pin(
        self, file: FileSpec, files: tuple[RemoteFile, ...], licence: str | None = None
    ) -> None:
        """Remember `files` as what `file` is, and what its licence is called."""
        with self._changing() as content:
            content.pinned[_key(file)] = _rows(files, licence)
            content.begun.pop(_key(file), None)

    def begin(self, file: FileSpec, files: tuple[RemoteFile, ...]) -> None:
        """Remember that `file` is being fetched as `files`: so its partials are known as its."""
        with self._changing() as content:
            content.begun[_key(file)] = _rows(files)

    def unpin(self, file: FileSpec) -> None:
        """Forget `file`: the next fetch takes what the hub has then."""
        if _key(file) in self._read().pinned:
            with self._changing() as content:
                content.pinned.pop(_key(file), None)

    def fetched_from(self, repository: str) -> list[str]:
        """Paths in `repository` that are pinned here or begun, as they came."""
        start, content = f"{repository}/", self._read()
        keys = dict.fromkeys([*content.pinned, *content.begun])
        return [key.removeprefix(start) for key in keys if key.startswith(start)]

    def state(self, file: FileSpec) -> Pin:
        """Whether the bytes of `file` are known beforehand, and by whom."""
        if file.pinned:
            return "pinned"
        return "pinned locally" if self.pinned(file) else "unpinned"

    def _read(self) -> _Content:
        try:
            return self._content()
        except (OSError, ValueError, RecursionError):
            return _Content()

    def _content(self) -> _Content:
        with self.path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("too large")
        return msgspec.json.decode(text, type=_Content)  # its errors are ValueErrors

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Content]:
        """Read, change, write: one process at a time, and the old content or the new one."""
        import filelock  # deferred: 80 ms, and `list` only reads

        try:
            make_private_folder(self.path.parent)
            lock = filelock.FileLock(self.path.with_suffix(".lock"), timeout=WAIT_S, mode=0o600)
            with lock:
                content = self._content_or_new()
                yield content
                self._write(content)
        except (OSError, filelock.Timeout) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageTrouble(
                f"{clean_line(str(self.path))} cannot be written: {clean_line(reason)}",
                hint="Check the folder, or set ONDEVICE_HOME to one you may write.",
            ) from error

    def _content_or_new(self) -> _Content:
        try:
            return self._content()
        except FileNotFoundError:
            return _Content()
        except (ValueError, RecursionError):
            stamp = time.strftime("%Y%m%d-%H%M%S")
            self.path.replace(self.path.with_name(f"{self.path.name}.corrupt-{stamp}"))
            return _Content()

    def _write(self, content: _Content) -> None:
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def of(paths: Paths) -> Records:
    """The records of one user."""
    return Records(paths.data / "downloads.json")


def of_user() -> Records | None:
    """This user's; None for one without a home, who has none."""
    try:
        return of(user_paths())
    except UsageTrouble:
        return None


def _key(file: FileSpec) -> str:
    return f"{file.repository}/{file.path}"


def _rows(files: tuple[RemoteFile, ...], licence: str | None = None) -> _Pinned:
    rows = [_PinnedFile(each.path, each.size_bytes, each.content_hash) for each in files]
    return _Pinned(files[0].commit, rows, licence)


def _files(file: FileSpec, kept: dict[str, _Pinned]) -> tuple[RemoteFile, ...] | None:
    """What is kept of `file`, where it is of the revision and the hash that are asked for."""
    found = kept.get(_key(file))
    if found is None or file.revision not in (None, found.revision):
        return None
    try:
        files = tuple(_remote(file.repository, found.revision, each) for each in found.files)
    except HubMisbehaved:  # somebody changed the records by hand
        return None
    hashes = [each.content_hash for each in files if each.path == file.path]
    return files if files and file.sha256 in (None, *hashes) else None


def _remote(repository: str, revision: str, file: _PinnedFile) -> RemoteFile:
    return RemoteFile(
        names.repository(repository),
        names.file_path(file.path),
        names.commit(revision),
        file.size_bytes,
        names.content_hash(file.hash),
    )
