"""Names a hub gives, before any of them becomes part of a path.

A hub can be hostile or broken: an ETag of `../../../x` wrote outside the cache of another tool.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ondevice.domain.model import first_part as first_part
from ondevice.domain.model import parts as parts
from ondevice.domain.text import clean_line
from ondevice.errors import HubMisbehaved

# `--` stands for the slash in the names of cache folders, so it may not occur in a part.
_REPOSITORY = re.compile(
    r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][\w .+()=@-]{0,200}", re.ASCII)
SUFFIXES = (
    ".gguf", ".onnx", ".onnx_data", ".onnx.data", ".json", ".jinja", ".txt", ".model", ".md",
)  # fmt: skip
"""Files a model may consist of; nothing that could be run."""
FOLDER_SUFFIXES = tuple(each for each in SUFFIXES if each != ".gguf")
"""Of an ONNX folder: a GGUF file beside it is a form of its own."""
MARKER = "genai_config.json"
"""What makes a folder with ONNX files one that an engine opens."""
MOST_FILES = 1000
"""More than any model has."""
_QUANTIZATION = re.compile(
    r"(?<![A-Za-z0-9])(I?Q\d(?:_[A-Z0-9]{1,3}){0,3}|TQ\d_\d|MXFP4|BF16|FP?16|FP?32|INT4|INT8)"
    r"(?![A-Za-z0-9])",
    re.I | re.A,
)


def repository(name: str) -> str:
    """`owner/name`."""
    return _whole(_REPOSITORY, name, "repository")


def commit(name: str) -> str:
    """The full hash of a commit."""
    return _whole(_COMMIT, name, "commit")


def content_hash(etag: str) -> str:
    """What an ETag says of the content: a sha256, or the hash of git. Weak ones say nothing."""
    return _whole(_HASH, etag.strip().removeprefix('"').removesuffix('"'), "hash")


def file_path(name: str) -> str:
    """The path of a file inside its repository, of a kind a model may consist of."""
    parts = PurePosixPath(name).parts
    fits = all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts)
    if not parts or not fits or "/".join(parts) != name:
        raise HubMisbehaved(f"{clean_line(name, 80)!r} is no path of a model's file")
    if not name.lower().endswith(SUFFIXES):
        raise HubMisbehaved(
            f"{clean_line(name, 80)} is not a kind of file that belongs to a model",
            hint=f"Those are: {', '.join(SUFFIXES)}.",
        )
    return name


def is_usable(name: str) -> bool:
    """Whether `name` is a file that a model may consist of."""
    try:
        return bool(file_path(name))
    except HubMisbehaved:
        return False


def quantization(path: str) -> str:
    """What a path says of it, as the field writes it: `Q4_K_M`, or `int4` of a folder; or ""."""
    found = _QUANTIZATION.findall(path)
    last: str = found[-1] if found else ""
    return last.upper() if path.lower().endswith(".gguf") else last.lower()


def split(name: str) -> tuple[str, str] | None:
    """`owner/name` and the file in it ("" for none) when `name` can be such a name on a hub."""
    parts = name.split("/", 2)
    if len(parts) < 2 or not _REPOSITORY.fullmatch("/".join(parts[:2])):
        return None
    path = parts[2] if len(parts) == 3 else ""
    return ("/".join(parts[:2]), path) if not path or is_usable(path) else None


def _whole(pattern: re.Pattern[str], name: str, what: str) -> str:
    if not pattern.fullmatch(name):
        raise HubMisbehaved(f"{clean_line(name, 80)!r} is no {what}")
    return name
