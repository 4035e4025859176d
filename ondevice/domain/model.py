"""What a language model is, before and after it is on this machine.

"Model" means a language model everywhere in this project.

ModelSpec  an entry of the catalogue: what a model is and under which terms
FileSpec   one downloadable form of it: an engine, a quantization, a pinned file
ModelFile  a file on this machine that an engine can open
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EngineName = Literal["llama.cpp", "onnx", "echo"]
Use = Literal["chat", "base", "embed"]
Recurrent = Literal["ssm", "rwkv", "shortconv"]
NO_LICENCE = "none named"
"""The licence of a model whose repository names none."""
MOST_PARTS = 1000
"""More than any model has."""
_SPLIT = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.I | re.A)


def parts(path: str) -> tuple[str, ...]:
    """All parts of the split GGUF that `path` is a part of; none for a file that is whole."""
    found = _SPLIT.fullmatch(path)
    if not found or not 1 < int(found["count"]) <= MOST_PARTS:
        return ()
    stem, count, suffix = found["stem"], found["count"], found["suffix"]
    return tuple(f"{stem}-{n:05d}-of-{count}{suffix}" for n in range(1, int(count) + 1))


def first_part(path: str) -> str:
    """The first part of the split GGUF that `path` is a part of; itself where it is whole."""
    found = _SPLIT.fullmatch(path)
    if not found or not 1 < int(found["count"]) <= MOST_PARTS:
        return path
    return f"{found['stem']}-00001-of-{found['count']}{found['suffix']}"


def paths_of(path: Path) -> tuple[Path, ...]:
    """All parts of the split GGUF at `path`; itself where it is whole."""
    return tuple(path.with_name(each) for each in parts(path.name)) or (path,)


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions memory depends on. Counts; None where a kind of model has no such thing."""

    n_layers: int
    n_embd: int
    vocab: int
    n_heads: int | None = None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    n_attention_layers: int | None = None
    """Layers that keep a KV cache, in hybrids; None means all of them, if there are heads."""
    n_ff: int | None = None
    """Numbers between the two halves of a feed-forward layer."""
    fused_qkv: bool = False
    """Queries, keys and values come from one matrix, which mixes quantize in their own way."""
    window: int | None = None
    """Tokens a sliding window holds; None where every layer sees all of the context."""
    window_period: int | None = None
    """Of so many layers in a row only the last one sees all of the context; the others see the
    window."""
    n_recurrent_layers: int | None = None
    """Layers that keep a recurrent state."""
    state: int | None = None
    """Numbers of the recurrent state of one such layer, convolution included."""
    recurrent: Recurrent | None = None
    """The kind of the recurrent layers."""
    inner: int | None = None
    """Their inner width: of a state space twice the model's, mostly."""
    merges: int | None = None
    """Pairs of a byte-pair vocabulary; 0 where the vocabulary is of another kind."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One published quality figure, which means nothing without who measured it and how."""

    benchmark: str
    score: float
    measured_by: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One form of a model that can be fetched."""

    engine: EngineName
    quantization: str
    """As the field writes it: `Q4_K_M`, `Q8_0`, `int4`."""
    repository: str
    path: str
    """The file inside the repository, or the folder for ONNX (`.` is the whole repository)."""
    revision: str | None = None
    """The full commit hash; None is not pinned."""
    size_bytes: int | None = None
    """Of the file; of a folder, its weights, so small files may come on top."""
    sha256: str | None = None
    """None for folders and where no hash is known; shown as "unpinned"."""
    package: str | None = None
    """A Python package that carries the same file, so that no hub is needed."""

    @property
    def pinned(self) -> bool:
        """Whether the very bytes are known beforehand."""
        return self.sha256 is not None


def told_apart(file: FileSpec, among: Iterable[FileSpec]) -> str:
    """`Q4_0 (llama.cpp)`; with its path where another one has the same engine and quantization."""
    if not file.quantization:
        return file.path
    path = f" {file.path}" if is_alike(file, among) else ""
    return f"{file.quantization} ({file.engine}){path}"


def is_alike(file: FileSpec, among: Iterable[FileSpec]) -> bool:
    """Whether another one is for the same engine and of the same quantization."""
    same = (file.engine, file.quantization.lower())
    return any(
        (each.engine, each.quantization.lower()) == same and each.path != file.path
        for each in among
    )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the catalogue."""

    name: str
    """What a person types: lower case, unique."""
    family: str
    title: str
    use: Use
    parameters: int
    """Total parameters."""
    active_parameters: int
    """Parameters used for one token: fewer in a mixture of experts, or where large tables are
    only looked up."""
    context: int
    """Trained context in tokens; 0 is unbounded (recurrent models)."""
    licence: str
    terms: str | None
    """Address of terms beyond a plain open licence, shown and accepted once."""
    gated: bool
    """Whether its files are given only to an account that accepted the terms."""
    shape: Shape | None
    files: tuple[FileSpec, ...]
    quality: tuple[Quality, ...] = ()
    note: str = ""
    approximate_parameters: bool = False
    """The count is rounded, as in the model's name."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file on this machine."""

    path: Path
    """The file or folder; of a split GGUF its first part."""
    engine: EngineName
    name: str
    """For people: the catalogue's name, or the file's own."""
    quantization: str = ""
    use: Use = "chat"
    random_weights: bool = False
    """A stand-in of a real shape: its speed is true, its text is noise."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that is opened with it: every part of a split GGUF, or the one file or folder."""
        return paths_of(self.path)

    @property
    def counts(self) -> bool:
        """Whether what it answers belongs in the accounts: it is neither noise nor an echo."""
        return not self.random_weights and self.engine != "echo"
