"""The sha256 of a model file that is here, found as cheaply as it can be.

The catalogue pins it, or the Hugging Face cache names the file by it; any other file is hashed
once, which takes a second for each GB or two, and remembered as long as its path, size, time and
inode stay the same. So ask `known_sha256` while somebody waits, and `sha256_of` when nobody does.
A split GGUF has one hash, made of those of its parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

import msgspec

from ondevice.catalog import Catalog
from ondevice.domain.model import ModelFile
from ondevice.hardware.system import make_private_folder
from ondevice.hub import local

MOST_REMEMBERED = 500
_MOST_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Remembered(msgspec.Struct, frozen=True):
    size: int
    mtime_ns: int
    inode: int
    sha256: str


def sha256_of(file: ModelFile, catalog: Catalog, cache: Path) -> str:
    """The hash of `file`, taken from its bytes where nobody knows it. Raises OSError.

    `cache` is the user's cache folder; what cannot be remembered there is hashed again next time.
    """
    found = known_sha256(file, catalog, cache)
    if found is not None:
        return found
    return _together([_known(path, cache) or _hashed(path, cache) for path in file.paths])


def known_sha256(file: ModelFile, catalog: Catalog, cache: Path) -> str | None:
    """The hash of `file` where it is known without reading it; None otherwise."""
    pinned = None if file.paths[1:] else _pinned(file, catalog)  # a pin is of one part alone
    if pinned is not None:
        return pinned
    known = [found for path in file.paths if (found := _known(path, cache))]
    return _together(known) if len(known) == len(file.paths) else None


def _together(digests: list[str]) -> str:
    """One hash for all files of a model."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _hashed(path: Path, cache: Path) -> str:
    with path.open("rb") as opened:
        before = os.fstat(opened.fileno())
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        after = os.fstat(opened.fileno())
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        _remember(cache, path, _Remembered(*_mark(after), digest))
    return digest


def _known(path: Path, cache: Path) -> str | None:
    """The hash of one file by the name of its blob, or as it was remembered."""
    blob = Path(os.path.realpath(path))
    if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    remembered = _read(cache).get(str(path))
    try:
        mark = _mark(path.stat())
    except OSError:
        return None
    if remembered and (remembered.size, remembered.mtime_ns, remembered.inode) == mark:
        return remembered.sha256
    return None


def _pinned(file: ModelFile, catalog: Catalog) -> str | None:
    """Of a file that lies where its catalogue entry has it, whole."""
    spec = catalog.get(file.name)
    for each in spec.files if spec else ():
        if each.sha256 and each.engine == file.engine and local.find_file(each) == file.path:
            return each.sha256
    return None


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _file(cache: Path) -> Path:
    return cache / "hashes.json"


def _read(cache: Path) -> dict[str, _Remembered]:
    try:
        with _file(cache).open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        return msgspec.json.decode(text, type=dict[str, _Remembered])
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return {}


def _remember(cache: Path, path: Path, what: _Remembered) -> None:
    """Two processes that remember at once: one of them hashes again next time."""
    known = _read(cache)
    known.pop(str(path), None)
    known[str(path)] = what
    kept = dict(list(known.items())[-MOST_REMEMBERED:])
    fresh = _file(cache).with_name(f"hashes.json.{os.getpid()}.new")
    try:
        make_private_folder(cache)
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.encode(kept))
        fresh.replace(_file(cache))
    except (OSError, UnicodeEncodeError):  # a name that is not UTF-8 is hashed each time
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
