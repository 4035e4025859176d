"""Text files that a question names: `@notes.txt`, `@"my notes.txt"`, `@~/notes.txt`.

Paths are relative to the folder that is given. An @ within a word, as in an address, is text, and
so is one before a word that names no file, unless it can only be meant as a path: it is quoted, has
a slash, or ends like a text file. `\\@` is always text.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ondevice import units
from ondevice.domain.prompt import Attachment
from ondevice.domain.text import clean_line
from ondevice.errors import NotAttached

MOST_BYTES = 1 << 20
"""Of one file: a context of 128k tokens holds half of it."""
MOST_TOGETHER_BYTES = 4 << 20
MOST_FILES = 20
_NAMED = re.compile(
    r"""(?<![^\s(\[])@(?:"(?P<double>[^"\n]+)"|'(?P<single>[^'\n]+)'|(?P<bare>\S+))"""
)
_PLAIN = re.compile(r"[\w.~/+-]+")
_CLOSING = ".,;:!?)]}>'\""
_TEXT_FILE = re.compile(
    r"\.(c|cfg|conf|cpp|css|csv|go|h|html|ini|java|js|json|log|md|py|rs|rst|sh|sql|tex|toml|ts|tsv"
    r"|txt|xml|yaml|yml)$"
)


def attachments_of(text: str, folder: Path) -> tuple[Attachment, ...]:
    """The files that `text` names, in order, each once.

    Raises NotAttached for one that is missing, too large, or no text.
    """
    found: dict[Path, Attachment] = {}
    left = MOST_TOGETHER_BYTES
    for match in _NAMED.finditer(text):
        named = _file_named(match, folder)
        if named is None or named[1] in found:
            continue
        name, path = named
        attached, size = _read(name, path)
        found[path], left = attached, left - size
        if left < 0 or len(found) > MOST_FILES:
            raise NotAttached(
                "too much is attached at once",
                hint=f"At most {MOST_FILES} files, {units.size(MOST_TOGETHER_BYTES)} together.",
            )
    return tuple(found.values())


def _file_named(match: re.Match[str], folder: Path) -> tuple[str, Path] | None:
    """The name and the path; None for what is text."""
    quoted = match["double"] or match["single"]
    if quoted:
        return quoted, _existing(quoted, folder) or _missing(quoted)
    bare = match["bare"]
    shorter = bare.rstrip(_CLOSING)
    for name in (bare, shorter):
        path = _existing(name, folder) if name else None
        if path is not None and (not path.is_dir() or "/" in name):
            return name, path
    meant = _PLAIN.fullmatch(shorter) and ("/" in shorter or _TEXT_FILE.search(shorter))
    return (shorter, _missing(shorter)) if meant else None


def _existing(name: str, folder: Path) -> Path | None:
    try:
        path = folder / os.path.expanduser(name)  # noqa: PTH111 - pathlib's raises
        path.stat()
    except (OSError, ValueError):  # the latter: a name that no file can have
        return None
    return path


def _missing(name: str) -> Path:
    raise _refused(name, "there is no such file", "Check the path, or write \\@ for a plain @.")


def _read(name: str, path: Path) -> tuple[Attachment, int]:
    """The text of a file and its bytes."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise _refused(name, "it is no file", "Name the files in it one by one.")
        if status.st_size > MOST_BYTES:
            raise _too_large(name, status.st_size)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _refused(name, error.strerror or str(error), "Check its permissions.") from error
    if len(data) > MOST_BYTES:  # it grew, or is of a kind that has no size
        raise _too_large(name, len(data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise _refused(name, "it is not text in UTF-8", "Only text can be attached.")
    return Attachment(name, text), len(data)


def _too_large(name: str, size_bytes: int) -> NotAttached:
    said = f"it has {units.size(size_bytes)}, and {units.size(MOST_BYTES)} is the most"
    return _refused(name, said, "Attach a part of it.")


def _refused(name: str, why: str, hint: str) -> NotAttached:
    return NotAttached(f"{clean_line(name, 100)} cannot be attached: {why}", hint=hint)
