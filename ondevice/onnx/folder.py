"""A model folder: its config, and every file it makes the library open, inside it and whole.

inside  below the folder, or, where the folder is a snapshot in the Hugging Face cache, among that
        repository's blobs, to which the cache links
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ondevice.domain.text import clean_line
from ondevice.errors import NotAModelFile, UnsupportedModel
from ondevice.onnx import config
from ondevice.onnx.config import DAMAGED, GenaiConfig
from ondevice.onnx.graph import External, Graph, read_graph

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_MODULE = "tokenizer_module.json"
TEMPLATE = "chat_template.jinja"
_SMALL = {
    TOKENIZER: 256 << 20,
    TOKENIZER_CONFIG: 16 << 20,
    TOKENIZER_MODULE: 16 << 20,
    TEMPLATE: 4 << 20,
    "chat_template.json": 4 << 20,
}
"""The most bytes of each file that is read whole; the largest tokenizer in use has 33 MB."""
MAX_GRAPH_BYTES = 2 << 30
"""What protobuf allows a message."""
_BYTES_OF = {1: 4, 10: 2, 16: 2, 2: 1, 3: 1, 17: 1}
"""Of one number of an ONNX element type; what is not listed is taken for 4."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that may be opened."""

    path: Path
    config: GenaiConfig
    graph: Path
    weights: tuple[Path, ...]
    """Files of tensors beside the graph, the largest first."""
    number_bytes: int
    """Of one number in the KV cache."""
    said: Graph
    """What the graph says of its tensors."""

    @property
    def mapped(self) -> tuple[Path, ...]:
        """The files whose pages are the model's pages."""
        return self.weights or (self.graph,)

    def cache_bytes(self, n_ctx: int) -> int:
        """Of a KV cache for `n_ctx` tokens."""
        return self.config.cache.numbers(n_ctx) * self.number_bytes


def read_config(path: Path) -> GenaiConfig:
    """The config alone: enough to name a folder. Raises NotAModelFile or UnsupportedModel."""
    return config.parse(_bytes(path, config.NAME, config.MAX_BYTES))


def read_folder(path: Path) -> ModelFolder:
    """Check all that the library will open. Raises NotAModelFile or UnsupportedModel."""
    facts = read_config(path)
    for name, most in _SMALL.items():
        if name == TOKENIZER or _is_named(path, name):
            _sized(path, name, most)
    _check_tokenizer(path)
    if not facts.model_file.endswith(".onnx"):
        raise NotAModelFile(f"{config.NAME} names no .onnx file as the model", hint=DAMAGED)
    _sized(path, facts.model_file, MAX_GRAPH_BYTES)
    graph = path / facts.model_file
    try:
        found = read_graph(graph)
    except OSError as error:
        raise _unreadable(facts.model_file, error) from error
    weights = _weights(graph.parent, path, found.externals)
    element = found.inputs.get(facts.key_input.replace("%d", "0"), 1)
    return ModelFolder(path, facts, graph, weights, _BYTES_OF.get(element, 4), found)


def read_text(path: Path, name: str) -> str | None:
    """The text of one of the small files; None where there is none. Raises NotAModelFile."""
    if not _is_named(path, name):
        return None
    return _bytes(path, name, _SMALL[name]).decode("utf-8", "replace")


def read_bytes(path: Path, name: str) -> bytes:
    """One of the small files. Raises NotAModelFile."""
    return _bytes(path, name, _SMALL[name])


def _check_tokenizer(path: Path) -> None:
    """Its settings can have the library read another file in the place of TOKENIZER."""
    for name in (TOKENIZER_CONFIG, TOKENIZER_MODULE):
        if not _is_named(path, name):
            continue
        try:
            settings = json.loads(read_bytes(path, name))
        except (ValueError, RecursionError):
            raise NotAModelFile(f"{name} is not JSON", hint=DAMAGED) from None
        if isinstance(settings, dict) and settings.get("tiktoken_file"):
            raise UnsupportedModel(
                f"{name}: tiktoken_file is not supported",
                hint=f"Only folders whose tokenizer is all in {TOKENIZER} are opened.",
            )


def _weights(beside: Path, folder: Path, externals: list[External]) -> tuple[Path, ...]:
    """The files that tensors stand in, each inside `folder` and long enough."""
    needed: dict[str, int] = {}
    for each in externals:
        end = each.offset + each.length
        needed[each.location] = max(needed.get(each.location, 0), end)
    found: dict[Path, int] = {}
    where = beside.relative_to(folder).as_posix()
    for location, least in needed.items():
        _check_name(location)  # alone: joined, an absolute one would be a name inside
        name = location if where == "." else f"{where}/{location}"
        size = _sized(folder, name, None)
        if size < least:
            shown = clean_line(location, 80)
            raise NotAModelFile(f"{shown} is shorter than the model says", hint=DAMAGED)
        found[folder / name] = size
    return tuple(sorted(found, key=lambda each: -found[each]))


def _bytes(folder: Path, name: str, most: int) -> bytes:
    _sized(folder, name, most)
    try:
        with (folder / name).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise _unreadable(name, error) from error


def _is_named(folder: Path, name: str) -> bool:
    """Whether there is a `name`, be it a link that cannot be followed: `_sized` says why."""
    return os.path.lexists(folder / name)


def _check_name(name: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or "\\" in name or ":" in name or "\0" in name or ".." in pure.parts:
        shown = clean_line(name, 80)
        raise NotAModelFile(f"the model names a file outside its folder: {shown}", hint=DAMAGED)


def _sized(folder: Path, name: str, most: int | None) -> int:
    """Bytes of the regular file `name` inside `folder`. Raises NotAModelFile."""
    shown = clean_line(name, 80)
    _check_name(name)
    path = folder / name
    try:
        real, status = path.resolve(strict=True), path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(name, error) from error
    if not any(real.is_relative_to(root) for root in _roots(folder)):
        raise NotAModelFile(f"{shown} is a link that leads out of the folder", hint=DAMAGED)
    if not stat.S_ISREG(status.st_mode):
        raise NotAModelFile(f"{shown} is not a regular file", hint=DAMAGED)
    if most is not None and status.st_size > most:
        raise NotAModelFile(f"{shown} is larger than any such file", hint=DAMAGED)
    return status.st_size


def _roots(folder: Path) -> Iterator[Path]:
    real = folder.resolve()
    yield real
    for snapshots in (each for each in (real, *real.parents) if each.name == "snapshots"):
        if snapshots.parent.name.startswith("models--"):
            yield snapshots.parent / "blobs"


def _unreadable(name: str, error: Exception) -> NotAModelFile:
    shown = clean_line(name, 80)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotAModelFile(f"the folder has no {shown}", hint=DAMAGED)
    reason = getattr(error, "strerror", None) or clean_line(str(error), 80)
    return NotAModelFile(f"{shown} cannot be read: {reason}", hint=DAMAGED)
